//! What holds for every stack: a row's numbers do not depend on the batch, the
//! padding, the division into steps, the cache or the kernels.

use crate::common::leaky::Leaky;
use crate::common::problem::{Answer, Form, Problem, Shape, shapes};
use crate::common::{numbers, slice_error};
use elman::Float;
use elman::cell::{AnyCell, Bias, Cell, CellKind, Nonlinearity, Plain};
use elman::layer::{Merge, Pass, RecurrentConfig, Stack, StackCache, StackConfig, State};
use elman::ndarray::{Array2, Array3, ArrayView2, Axis, s};
use elman::params::{Layout, Params};
use elman::rng::{Key, Purpose};
use proptest::prelude::*;
use std::collections::HashSet;

fn problem<F: Float>(shape: &Shape) -> Problem<F, AnyCell> {
    Problem::new(shape, |cell| cell)
}

fn run<F: Float, C: Cell<F>>(problem: &Problem<F, C>) -> Answer<F> {
    problem.run(Form::Sequence, &mut StackCache::default())
}

/// The rows of a problem, however they are batched, have the same bits.
fn rows_are_their_own<F: Float>(shape: &Shape, order: &[usize], more: usize) {
    let whole = problem::<F>(shape);
    let answer = run(&whole);
    let compare = |part: &Problem<F, AnyCell>, rows: &[usize]| {
        let part = run(part);
        for (at, row) in rows.iter().enumerate() {
            let length = whole.length(*row);
            assert_eq!(part.row_bits(at, length), answer.row_bits(*row, length));
            for a in [&part.y, &part.dx] {
                assert!(
                    a.slice(s![length.., at, ..])
                        .iter()
                        .all(|v| *v == F::zero())
                );
            }
        }
    };

    // Padded further, and each row alone: masks go with the row's number.
    let all: Vec<_> = (0..shape.batch).collect();
    compare(&whole.rows(&all, shape.seq_len + more), &all);
    for row in 0..shape.batch {
        let mut alone = whole.rows(&[row], whole.length(row));
        alone.first_row = row;
        compare(&alone, &[row]);
    }
    let (left, right) = all.split_at(shape.batch / 2);
    let mut part = whole.rows(right, shape.seq_len);
    part.first_row = left.len();
    compare(&part, right);
    compare(&whole.rows(left, shape.seq_len), left);

    // In another order: without masks.
    let mut whole = whole.clone();
    whole.dropout = None;
    let answer = run(&whole);
    let permuted = run(&whole.rows(order, shape.seq_len));
    for (at, row) in order.iter().enumerate() {
        let length = whole.length(*row);
        assert_eq!(permuted.row_bits(at, length), answer.row_bits(*row, length));
    }
}

/// One direction: `step`, `forward_at` and two halves equal the sequence.
fn division_in_time_is_free<F: Float>(shape: Shape, cut: usize, bar: f64) {
    let mut whole = problem::<F>(&shape.one_way());
    let answer = run(&whole);
    let mut cache = StackCache::default();
    let stepped = whole.run(Form::StepByStep, &mut cache);
    assert_eq!(stepped.bits(), answer.bits());

    division_in_two_is_free(&whole, cut, bar);
    whole.dropout = None; // a stream has none, and no resets
    whole.resets = None;
    let answer = run(&whole);
    let mut state = whole.state.clone();
    for t in 0..whole.seq_len() {
        let x = whole.x.index_axis(Axis(0), t);
        let mut y = Array2::from_elem((whole.batch(), whole.stack.output_size()), F::nan());
        whole
            .stack
            .step(&whole.params, x, &mut state, &mut cache, y.view_mut())
            .unwrap();
        assert_eq!(y, answer.y.index_axis(Axis(0), t));
    }
    assert_eq!(state, answer.state);
}

fn division_in_two_is_free<F: Float>(whole: &Problem<F, AnyCell>, cut: usize, bar: f64) {
    let answer = run(whole);
    let cut = cut.min(whole.seq_len());
    let mut early = whole.steps(0, cut);
    let mut late = whole.steps(cut, whole.seq_len());
    late.state = run(&early).state;
    let late = run(&late);
    early.d_state = late.d_state.clone();
    let early = run(&early);
    assert_eq!(late.state, answer.state);
    assert_eq!(early.d_state, answer.d_state);
    assert_eq!(early.y, answer.y.slice(s![..cut, .., ..]));
    assert_eq!(late.y, answer.y.slice(s![cut.., .., ..]));
    assert_eq!(early.dx, answer.dx.slice(s![..cut, .., ..]));
    assert_eq!(late.dx, answer.dx.slice(s![cut.., .., ..]));
    let halves = early.grads.values().iter().zip(late.grads.values());
    let sum: Vec<F> = halves.map(|(a, b)| *a + *b).collect();
    assert!(slice_error(&sum, answer.grads.values()) <= bar);
}

/// Nothing of the padding is read.
fn padding_is_not_read<F: Float>(shape: &Shape) {
    let clean = problem::<F>(shape);
    let answer = run(&clean);
    for poison in [F::nan(), F::infinity()] {
        let mut poisoned = clean.clone();
        for row in 0..shape.batch {
            let past = clean.length(row);
            let arrays = [Some(&mut poisoned.x), poisoned.d_y.as_mut()];
            for a in arrays.into_iter().flatten() {
                a.slice_mut(s![past.., row, ..]).fill(poison);
            }
        }
        assert_eq!(run(&poisoned).bits(), answer.bits());
    }
}

/// A cache that served another batch, or another stack, changes nothing, and a
/// change of the parameters is noticed.
fn caches_hold_no_secrets<F: Float>(shapes: &[Shape; 2]) {
    let mut cache = StackCache::default();
    let mut problems = shapes.each_ref().map(problem::<F>);
    for _ in 0..2 {
        for problem in &mut problems {
            assert_eq!(
                problem.run(Form::Sequence, &mut cache).bits(),
                run(problem).bits()
            );
            problem.params.values_mut()[0] += F::one();
            assert_eq!(
                problem.run(Form::Sequence, &mut cache).bits(),
                run(problem).bits()
            );
            let entry = problem.params.layout().entries()[1].clone();
            let values = numbers(7, entry.range.len());
            problem.params.set(&entry.name, &values).unwrap();
            assert_eq!(
                problem.run(Form::Sequence, &mut cache).bits(),
                run(problem).bits()
            );
        }
    }
}

/// Rows of no steps hand their state on, both ways.
fn nothing_happens_in_no_time<F: Float>(shape: &Shape) {
    let problem = problem::<F>(shape);
    let answer = run(&problem);
    for slot in 0..problem.state.slots() {
        for row in (0..shape.batch).filter(|row| problem.length(*row) == 0) {
            let w = problem.state.width(slot);
            let row = row * w..(row + 1) * w;
            assert_eq!(
                answer.state.slot(slot)[row.clone()],
                problem.state.slot(slot)[row.clone()]
            );
            assert_eq!(
                answer.d_state.slot(slot)[row.clone()],
                problem.d_state.slot(slot)[row]
            );
        }
    }
    if problem.x.is_empty() {
        assert!(answer.grads.values().iter().all(|g| *g == F::zero()));
    }
}

/// The last layer's `h` in a trace is the output; a name for every state and
/// gate of every slot.
fn traces_are_the_numbers<F: Float>(shape: &Shape) {
    let problem = problem::<F>(shape);
    let mut cache = StackCache::default();
    let (y, _) = problem.forward(Form::Sequence, &mut cache);
    let traces = problem.stack.trace(&cache);
    let slots = problem.state.slots();
    let mut names = match shape.config.cell {
        CellKind::Rnn => vec!["h", "a"],
        CellKind::Gru => vec!["h", "n", "r", "z", "hn"],
        CellKind::Lstm if shape.config.proj_size > 0 => vec!["h", "c", "i", "f", "g", "o", "m"],
        CellKind::Lstm => vec!["h", "c", "i", "f", "g", "o"],
    };
    names.retain(|name| *name != "f" || !shape.config.options.coupled);
    assert_eq!(traces.len(), slots * names.len());
    let stack = &shape.config.stack;
    let plain = stack.merge == Merge::Concat && !stack.residual;
    for (at, trace) in traces.iter().enumerate() {
        assert_eq!(trace.name, names[at % names.len()]);
        let r = problem.stack.direction_size(trace.layer);
        let width = match trace.name {
            "h" => r,
            _ => *(shape.config.hidden_sizes.get(trace.layer)).unwrap_or(&shape.config.hidden_size),
        };
        assert_eq!(trace.values.len_of(Axis(2)), width);
        let second = usize::from(trace.reverse && stack.bidirectional);
        if trace.layer + 1 == stack.num_layers && trace.name == "h" && plain {
            let mut values = trace.values.view();
            if stack.batch_first {
                values = values.permuted_axes([1, 0, 2]);
            }
            assert_eq!(values, y.slice(s![.., .., second * r..(second + 1) * r]));
        }
    }
}

/// Parts between resets are as far apart as two sequences: the same bits as
/// each of them by itself, and the gradients of the weights are their sum.
fn resets_part_sequences<F: Float>(shape: &Shape, bar: f64) {
    let whole = problem::<F>(shape);
    let answer = run(&whole);
    let Some(resets) = &whole.resets else { return };
    let directions = whole.stack.num_directions();
    let reverse = |slot: usize| whole.stack.config().reverse || slot % directions == 1;
    let initial = initial_states(&whole);
    let mut grads: Vec<F> = vec![F::zero(); answer.grads.values().len()];
    for row in 0..shape.batch {
        let length = whole.length(row);
        let mut bounds: Vec<_> = (1..length).filter(|t| resets[[*t, row]]).collect();
        bounds.insert(0, 0);
        bounds.push(length);
        for part in bounds.windows(2) {
            let [from, to] = [part[0], part[1]];
            let mut alone = whole.rows(&[row], shape.seq_len).steps(from, to);
            alone.lengths = None;
            alone.resets = None;
            alone.first_row = row;
            let (first, last) = (from == 0, to == length);
            let given = first && !(length > 0 && resets[[0, row]]);
            for (slot, initial) in initial.iter().enumerate() {
                let (begins, ends) = match reverse(slot) {
                    true => (last, first),
                    false => (given, last),
                };
                if !begins || whole.state.is_fresh(row) {
                    alone.state.slot_mut(slot).copy_from_slice(initial);
                }
                if !ends {
                    alone.d_state.slot_mut(slot).fill(F::zero());
                }
            }
            let part = run(&alone);
            let cut = s![from..to, row, ..];
            let bits =
                |a: ArrayView2<'_, F>| -> Vec<_> { a.iter().map(|v| v.f64().to_bits()).collect() };
            assert_eq!(bits(part.y.slice(s![.., 0, ..])), bits(answer.y.slice(cut)));
            assert_eq!(
                bits(part.dx.slice(s![.., 0, ..])),
                bits(answer.dx.slice(cut))
            );
            for slot in 0..whole.state.slots() {
                let w = whole.state.width(slot);
                let of = |state: &State<F>| state.slot(slot)[row * w..][..w].to_vec();
                let ends = if reverse(slot) { first } else { last };
                if ends && length > 0 {
                    assert_eq!(part.state.slot(slot), of(&answer.state));
                }
            }
            for (sum, g) in grads.iter_mut().zip(part.grads.values()) {
                *sum += *g;
            }
        }
    }
    for entry in answer.grads.layout().entries() {
        if !entry.name.contains("_0_l") {
            let got = &answer.grads.values()[entry.range.clone()];
            assert!(
                slice_error(&grads[entry.range.clone()], got) <= bar,
                "{}",
                entry.name
            );
        }
    }
}

/// What fresh rows begin at, slot by slot.
fn initial_states<F: Float>(problem: &Problem<F, AnyCell>) -> Vec<Vec<F>> {
    let entries = problem.params.layout().entries().iter();
    let mut learned: Vec<F> = entries
        .filter(|e| e.name.contains("_0_l"))
        .flat_map(|e| &problem.params.values()[e.range.clone()])
        .copied()
        .collect();
    (0..problem.state.slots())
        .map(|slot| {
            let width = problem.state.width(slot);
            match learned.is_empty() {
                true => vec![F::zero(); width],
                false => learned.drain(..width).collect(),
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a_row_has_the_same_bits_in_any_batch(
        (shape, order) in shapes().prop_flat_map(|shape| {
            let order = Just((0..shape.batch).collect::<Vec<_>>()).prop_shuffle();
            (Just(shape), order)
        }),
        more in 0..3_usize,
    ) {
        rows_are_their_own::<f32>(&shape, &order, more);
        rows_are_their_own::<f64>(&shape, &order, more);
    }

    #[test]
    fn steps_equal_the_sequence(shape in shapes(), cut in 0..4_usize) {
        division_in_time_is_free::<f32>(shape.clone(), cut, 1e-5);
        division_in_time_is_free::<f64>(shape, cut, 1e-13);
    }

    #[test]
    fn kernels_equal_the_plain_loop_with_every_option(shape in shapes()) {
        let fast = run(&problem::<f64>(&shape));
        let plain = run(&Problem::<f64, _>::new(&shape, Plain));
        let e = fast.error(&plain);
        assert!(e <= 1e-11, "{shape:?}: {e:e}");
    }

    #[test]
    fn resets_are_boundaries(shape in shapes()) {
        resets_part_sequences::<f32>(&shape, 1e-4);
        resets_part_sequences::<f64>(&shape, 1e-12);
    }

    #[test]
    fn padding_never_leaks(shape in shapes()) {
        padding_is_not_read::<f32>(&shape);
        padding_is_not_read::<f64>(&shape);
    }

    #[test]
    fn a_used_cache_is_as_good_as_new(a in shapes(), b in shapes()) {
        caches_hold_no_secrets::<f32>(&[a.clone(), b.clone()]);
        caches_hold_no_secrets::<f64>(&[a, b]);
    }

    #[test]
    fn states_pass_through_empty_rows(shape in shapes()) {
        nothing_happens_in_no_time::<f32>(&shape);
        nothing_happens_in_no_time::<f64>(&shape);
    }

    #[test]
    fn a_trace_has_every_state_and_gate(shape in shapes()) {
        traces_are_the_numbers::<f32>(&shape);
        traces_are_the_numbers::<f64>(&shape);
    }
}

/// The fast paths against the definition, forward and back.
#[test]
fn kernels_equal_the_plain_loop() {
    fn check<F: Float>(shape: &Shape, bar: f64) {
        let fast = run(&problem::<F>(shape));
        let plain = run(&Problem::<F, _>::new(shape, Plain));
        let e = fast.error(&plain);
        assert!(e <= bar, "{shape:?}: {e:e}");
    }
    for kind in CellKind::ALL {
        for (input_size, hidden_size) in [(1, 1), (3, 17), (17, 3), (64, 65), (65, 64), (1, 64)] {
            for bias in [Bias::Both, Bias::Single, Bias::None] {
                let mut config = RecurrentConfig::new(kind, input_size, hidden_size);
                config.bias = bias;
                config.stack.bidirectional = true;
                let mut shape = Shape {
                    config,
                    seq_len: 4,
                    batch: 5,
                    lengths: Some(vec![4, 0, 2, 3, 4]),
                    resets: None,
                    fresh: false,
                    training: false,
                    seed: 1,
                };
                check::<f64>(&shape, 1e-13);
                check::<f32>(&shape, 1e-5);
                if kind == CellKind::Rnn {
                    shape.config.nonlinearity = Nonlinearity::Relu;
                    check::<f64>(&shape, 1e-13);
                    check::<f32>(&shape, 1e-5);
                }
                for proj_size in [1, 2, 16, 33, hidden_size.saturating_sub(1)] {
                    if kind == CellKind::Lstm && (1..hidden_size).contains(&proj_size) {
                        // A projected h has no bound: weights from U(-1, 1)
                        // make rounding grow from step to step.
                        shape.config.proj_size = proj_size;
                        check::<f64>(&shape, 1e-12);
                        check::<f32>(&shape, 1e-4);
                    }
                }
            }
        }
    }
}

/// Gradients of inputs and parameters are added to what is there.
#[test]
fn gradients_are_added() {
    for kind in CellKind::ALL {
        let shape = Shape {
            config: RecurrentConfig::new(kind, 2, 3),
            seq_len: 3,
            batch: 2,
            lengths: None,
            resets: None,
            fresh: false,
            training: false,
            seed: 5,
        };
        let problem = problem::<f64>(&shape);
        let mut cache = StackCache::default();
        let answer = problem.run(Form::Sequence, &mut cache);
        let mut dx = answer.dx.clone();
        let mut grads = answer.grads.clone();
        let d_y = problem.d_y.as_ref().map(|d| d.view());
        // A second pass back over the same cache finds all as it was.
        let mut d_state = problem.d_state.clone();
        let view = Some(dx.view_mut());
        problem
            .stack
            .backward(
                &problem.params,
                &mut cache,
                d_y,
                &mut d_state,
                &mut grads,
                view,
            )
            .unwrap();
        assert_eq!(d_state, answer.d_state);
        assert_eq!(dx, &answer.dx * 2.0);
        let twice: Vec<_> = answer.grads.values().iter().map(|g| 2.0 * g).collect();
        assert!(slice_error(grads.values(), &twice) <= 1e-13);
    }
}

/// Layers of one network may share a cache: their packed weights are kept
/// apart though the parameters are the same.
#[test]
fn two_stacks_share_a_cache() {
    let config = RecurrentConfig::new(CellKind::Gru, 2, 3);
    let mut layout = Layout::new();
    let stacks = ["encoder", "decoder"].map(|name| config.stack(&mut layout, name).unwrap());
    let mut params = Params::<f64>::zeros(layout.into());
    let n = params.values().len();
    params.values_mut().copy_from_slice(&numbers(1, n));
    let x = Array3::from_shape_vec((4, 2, 2), numbers(2, 16)).unwrap();
    let output = |stack: &Stack<AnyCell>, cache: &mut StackCache<f64>| {
        let mut y = Array3::zeros((4, 2, 3));
        let mut state = stack.start(2);
        let (x, pass) = (x.view(), Pass::default());
        stack
            .forward(&params, x, &pass, &mut state, cache, y.view_mut())
            .unwrap();
        let (mut dx, mut grads) = (
            Array3::zeros(x.dim()),
            Params::zeros(params.layout().clone()),
        );
        let dy = y.clone();
        let view = Some(dx.view_mut());
        stack
            .backward(
                &params,
                cache,
                Some(dy.view()),
                &mut state,
                &mut grads,
                view,
            )
            .unwrap();
        (y, dx)
    };
    let mut shared = StackCache::default();
    for stack in &stacks {
        assert_eq!(
            output(stack, &mut shared),
            output(stack, &mut StackCache::default())
        );
    }
}

/// A user's cell, its state of two widths, has all of it too.
#[test]
fn a_cell_of_ones_own() {
    let shape = Shape {
        config: RecurrentConfig::new(CellKind::Rnn, 1, 1), // not used
        seq_len: 4,
        batch: 3,
        lengths: Some(vec![2, 4, 0]),
        resets: None,
        fresh: false,
        training: false,
        seed: 3,
    };
    let config = StackConfig {
        num_layers: 2,
        bidirectional: true,
        ..StackConfig::default()
    };
    let problem = Problem::<f64, _>::of(&shape, config, 2, |_, input_size| Leaky {
        input_size,
        hidden_size: 3,
        k: 0.3,
    });
    let mut cache = StackCache::default();
    let answer = problem.run(Form::Sequence, &mut cache);
    for row in 0..3 {
        let length = problem.length(row);
        let alone = run(&problem.rows(&[row], length));
        assert_eq!(alone.row_bits(0, length), answer.row_bits(row, length));
    }
    let traces = problem.stack.trace(&cache);
    let found: Vec<_> = traces.iter().map(|t| (t.name, t.values.dim())).collect();
    let slot = [("h", (4, 3, 3)), ("m", (4, 3, 1)), ("s", (4, 3, 3))];
    assert_eq!(found, slot.repeat(4));
    // The newest state of row 1, which is as long as the batch.
    let m = answer.state.get("m").unwrap();
    assert_eq!(traces[1].values[[3, 1, 0]], m[[0, 1, 0]]);
    assert_eq!(traces[4].values[[0, 1, 0]], m[[1, 1, 0]]);
}

/// Outputs of a stack of relu layers that copy ones: the product of the masks
/// between its layers.
fn masks<F: Float>(p: f64, num_layers: usize, key: Option<Key>, first_row: usize) -> Array3<F> {
    const WIDTH: usize = 64;
    let mut config = RecurrentConfig::new(CellKind::Rnn, WIDTH, WIDTH);
    config.bias = Bias::None;
    config.nonlinearity = Nonlinearity::Relu;
    config.stack.num_layers = num_layers;
    config.stack.dropout = p;
    let mut layout = Layout::new();
    let stack = config.stack(&mut layout, "").unwrap();
    let mut params = Params::zeros(layout.into());
    for layer in 0..num_layers {
        let name = format!("weight_ih_l{layer}");
        params
            .set(&name, Array2::eye(WIDTH).as_slice().unwrap())
            .unwrap();
    }
    let x = Array3::ones((8, 8, WIDTH));
    let mut y = Array3::zeros(x.dim());
    let pass = Pass {
        dropout: key,
        first_row,
        ..Pass::default()
    };
    let mut state = stack.start(8);
    let mut cache = StackCache::default();
    stack
        .forward(
            &params,
            x.view(),
            &pass,
            &mut state,
            &mut cache,
            y.view_mut(),
        )
        .unwrap();
    y
}

#[test]
fn masks_belong_to_seed_step_layer_row_and_time() {
    fn check<F: Float>() {
        let key = Key::new(1, Purpose::Dropout);
        let mask = |key, first_row| masks::<F>(0.5, 2, Some(key), first_row);
        let base = mask(key, 0);
        assert_eq!(base, mask(key, 0));
        for other in [key.step(1), Key::new(2, Purpose::Dropout)] {
            assert_ne!(base, mask(other, 0));
        }
        let mut seen = HashSet::new();
        for row in base.lanes(Axis(2)) {
            seen.insert(row.iter().map(|m| m.f64().to_bits()).collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 64, "two rows or steps share a mask");
        let below = mask(key, 3);
        assert_eq!(below.slice(s![.., ..5, ..]), base.slice(s![.., 3.., ..]));
        // Two masks in a row would be one if the layer did not count.
        let two = masks::<F>(0.5, 3, Some(key), 0);
        let kept = two.iter().filter(|m| **m > F::zero()).count();
        assert!((kept as f64 / two.len() as f64 - 0.25).abs() < 0.03);
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn masks_keep_the_expectation() {
    fn check<F: Float>() {
        let key = Some(Key::new(3, Purpose::Dropout));
        for p in [0.1, 0.5, 0.8] {
            let mask = masks::<F>(p, 2, key, 0);
            let scale = F::lit(1.0 / (1.0 - p));
            assert!(mask.iter().all(|m| *m == F::zero() || *m == scale));
            // Four standard deviations of a mean of 4096.
            let mean = mask.iter().map(|m| m.f64()).sum::<f64>() / mask.len() as f64;
            let bar = 4.0 * (p / (1.0 - p)).sqrt() / (mask.len() as f64).sqrt();
            assert!((mean - 1.0).abs() < bar, "{p}: {mean}");
        }
        let same = |mask: Array3<F>, v: F| mask.iter().all(|m| *m == v);
        assert!(same(masks(0.0, 3, key, 0), F::one()));
        assert!(same(masks(0.5, 3, None, 0), F::one()));
        assert!(
            same(masks(0.5, 1, key, 0), F::one()),
            "nothing after the last"
        );
        assert!(same(masks(1.0, 2, key, 0), F::zero()));
    }
    check::<f32>();
    check::<f64>();
}

/// Outputs (T, B, H) of relu units that read their state through `recurrent`,
/// from `h_0` on, and their input as it is.
fn units(
    config: StackConfig,
    recurrent: Array2<f64>,
    x: &Array3<f64>,
    h_0: &Array2<f64>,
    pass: &Pass<'_>,
) -> Array3<f64> {
    let width = recurrent.nrows();
    let mut recurrent_config = RecurrentConfig::new(CellKind::Rnn, width, width);
    recurrent_config.bias = Bias::None;
    recurrent_config.nonlinearity = Nonlinearity::Relu;
    recurrent_config.stack = config;
    let mut layout = Layout::new();
    let stack = recurrent_config.stack(&mut layout, "").unwrap();
    let mut params = Params::zeros(layout.into());
    for entry in params.layout().clone().entries() {
        let weight = match entry.name.contains("_hh") {
            true => &recurrent,
            false => &Array2::eye(width),
        };
        params.set(&entry.name, weight.as_slice().unwrap()).unwrap();
    }
    let mut state = stack.start(x.len_of(Axis(1)));
    for slot in 0..state.slots() {
        state.set_part(slot, "h", h_0.view()).unwrap();
    }
    let mut y = Array3::zeros((x.len_of(Axis(0)), x.len_of(Axis(1)), stack.output_size()));
    stack
        .forward(
            &params,
            x.view(),
            pass,
            &mut state,
            &mut StackCache::default(),
            y.view_mut(),
        )
        .unwrap();
    y
}

/// Four standard deviations of the mean of `n` draws with probability `p`.
fn bar(p: f64, n: usize) -> f64 {
    4.0 * (p * (1.0 - p) / n as f64).sqrt()
}

/// Shares of what is dropped or kept; what has the same mask and what another.
#[test]
fn masks_of_the_recurrent_part() {
    const W: usize = 64;
    let key = Key::new(5, Purpose::Dropout);
    let pass = |key: Key, first_row, first_step| Pass {
        dropout: Some(key),
        first_row,
        first_step,
        ..Pass::default()
    };
    let others = [
        pass(key.step(1), 0, 0),
        pass(Key::new(6, Purpose::Dropout), 0, 0),
        Pass {
            first_layer: 1,
            ..pass(key, 0, 0)
        },
    ];
    let ones = Array2::ones((W, W));
    let (eye, silence) = (Array2::eye(W), Array3::zeros((3, W, W)));
    for p in [0.2, 0.5] {
        let scale = 1.0 / (1.0 - p);
        // h_t = m h_{t-1} from ones: the mask to the power of t.
        let config = StackConfig {
            recurrent_dropout: p,
            ..StackConfig::default()
        };
        let run = |pass: Pass<'_>| units(config.clone(), eye.clone(), &silence, &ones, &pass);
        let h = run(pass(key, 0, 0));
        let mask = h.index_axis(Axis(0), 0);
        assert!(mask.iter().all(|m| *m == 0.0 || *m == scale));
        assert_eq!(h.index_axis(Axis(0), 2), mask.mapv(|m| m * m * m));
        let dropped = mask.iter().filter(|m| **m == 0.0).count() as f64 / mask.len() as f64;
        assert!((dropped - p).abs() < bar(p, mask.len()), "{dropped}");
        let rows: HashSet<_> = mask.outer_iter().map(|r| r.mapv(f64::to_bits)).collect();
        assert_eq!(rows.len(), W, "two rows share a mask");
        assert_eq!(run(pass(key, 0, 9)), h, "a mask depends on the step");
        let below = run(pass(key, 3, 0));
        assert_eq!(below.slice(s![.., ..W - 3, ..]), h.slice(s![.., 3.., ..]));
        assert!(others.iter().all(|other| run(*other) != h));
        let unmasked = run(Pass::default());
        assert!(unmasked.iter().all(|h| *h == 1.0), "masks outside training");

        // From one-hot states the first output is the weights, column by column.
        let config = StackConfig {
            weight_drop: p,
            ..StackConfig::default()
        };
        let first = silence.slice(s![..1, .., ..]).to_owned();
        let run = |pass: Pass<'_>| units(config.clone(), ones.clone(), &first, &eye, &pass);
        let w = run(pass(key, 0, 0));
        assert!(w.iter().all(|m| *m == 0.0 || *m == scale));
        let dropped = w.iter().filter(|m| **m == 0.0).count() as f64 / w.len() as f64;
        assert!((dropped - p).abs() < bar(p, w.len()), "{dropped}");
        assert_eq!(run(pass(key, 16, 9)), w, "rows and steps share the weights");
        assert!(others.iter().all(|other| run(*other) != w));
        assert!(run(Pass::default()).iter().all(|w| *w == 1.0));

        // A unit keeps its old value, or follows the input.
        let config = StackConfig {
            zoneout_hidden: p,
            ..StackConfig::default()
        };
        let x = Array3::from_shape_fn((3, W, W), |(t, _, _)| (t + 1) as f64);
        let nothing = Array2::zeros((W, W));
        let run = |pass: Pass<'_>| units(config.clone(), nothing.clone(), &x, &nothing, &pass);
        let h = run(pass(key, 0, 0));
        let (mut kept, mut before) = (0, nothing.clone());
        for (h, x) in h.outer_iter().zip(x.outer_iter()) {
            for ((h, x), before) in h.iter().zip(x).zip(&before) {
                assert!(h == x || h == before);
                kept += usize::from(h == before);
            }
            before = h.to_owned();
        }
        let share = kept as f64 / h.len() as f64;
        assert!((share - p).abs() < bar(p, h.len()), "{share}");
        let first = h.index_axis(Axis(0), 0);
        let rows: HashSet<_> = first.outer_iter().map(|r| r.mapv(f64::to_bits)).collect();
        assert_eq!(rows.len(), W, "two rows share a mask");
        let later = run(pass(key, 0, 1));
        let same = later.index_axis(Axis(0), 0).mapv(|h| h == 0.0);
        assert_eq!(same, h.index_axis(Axis(0), 1).mapv(|h| h < 2.0));
        assert!(others.iter().all(|other| run(*other) != h));
        // Outside training, the expectation.
        let h = run(Pass::default());
        for t in 0..3 {
            let before = if t == 0 { 0.0 } else { h[[t - 1, 0, 0]] };
            let expected = p * before + (1.0 - p) * (t + 1) as f64;
            assert!((h[[t, 0, 0]] - expected).abs() < 1e-15);
        }
    }
    // The two directions have masks of their own.
    let both = StackConfig {
        bidirectional: true,
        recurrent_dropout: 0.5,
        ..StackConfig::default()
    };
    let h = units(
        both,
        eye,
        &silence.slice(s![..1, .., ..]).to_owned(),
        &ones,
        &pass(key, 0, 0),
    );
    assert_ne!(h.slice(s![.., .., ..W]), h.slice(s![.., .., W..]));
}

/// Locked, a row's masks between layers are those of its step 0.
#[test]
fn locked_masks() {
    let key = Key::new(1, Purpose::Dropout);
    let config = |locked_dropout| StackConfig {
        num_layers: 2,
        dropout: 0.5,
        locked_dropout,
        ..StackConfig::default()
    };
    let run = |config: StackConfig, lengths: Option<&[usize]>, first_step| {
        let pass = Pass {
            lengths,
            dropout: Some(key),
            first_step,
            ..Pass::default()
        };
        let (x, zeros) = (Array3::ones((5, 4, 16)), Array2::zeros((16, 16)));
        let h_0 = Array2::zeros((4, 16));
        units(config, zeros, &x, &h_0, &pass)
    };
    let each = run(config(false), None, 0);
    let locked = run(config(true), None, 0);
    for y in locked.outer_iter() {
        assert_eq!(y, each.index_axis(Axis(0), 0));
    }
    assert_eq!(run(config(true), None, 7), locked);
    let lengths = [2, 0, 5, 3];
    let ragged = run(config(true), Some(&lengths), 0);
    for (row, length) in lengths.into_iter().enumerate() {
        let valid = s![..length, row, ..];
        assert_eq!(ragged.slice(valid), locked.slice(valid));
    }
}

/// With all outputs dropped the layer above still runs, and no gradient goes
/// through to the layer below but by its own state.
#[test]
fn dropping_everything_cuts_the_way_down() {
    for kind in CellKind::ALL {
        let mut config = RecurrentConfig::new(kind, 2, 3);
        config.stack.num_layers = 2;
        config.stack.dropout = 1.0;
        let shape = Shape {
            config,
            seq_len: 3,
            batch: 2,
            lengths: None,
            resets: None,
            fresh: false,
            training: true,
            seed: 4,
        };
        let mut problem = problem::<f64>(&shape);
        problem.d_state.clear();
        let answer = run(&problem);
        assert!(answer.y.iter().all(|y| y.is_finite() && *y != 0.0));
        assert_eq!(answer.dx, Array3::<f64>::zeros(answer.dx.dim()));
        let below = answer.grads.get("weight_ih_l0").unwrap();
        assert!(below.iter().all(|g| *g == 0.0));
    }
}
