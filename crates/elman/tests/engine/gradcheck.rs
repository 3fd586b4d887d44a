//! Every gradient against central finite differences, 1e-6: inputs, initial
//! states and parameters, with gradients that arrive at outputs, at final
//! states, or at both.

use crate::common::leaky::Leaky;
use crate::common::problem::{Form, Problem, Shape};
use crate::common::{gradcheck, numbers};
use elman::cell::{Activation, AnyCell, Bias, Cell, CellKind, Nonlinearity, Plain};
use elman::layer::{Linear, LinearCache, Merge, RecurrentConfig, StackCache, StackConfig};
use elman::ndarray::Array2;
use elman::params::{Layout, Params};
use elman::rng::{Key, Purpose};
use std::collections::HashSet;

/// Choices of every option; the fifth cell is an LSTM with a projection.
const OPTIONS: [usize; 8] = [5, 3, 2, 2, 3, 2, 3, 2];

#[test]
fn sequences() {
    grid(0, |shape, arrival| {
        check(&shape, arrival, Form::Sequence, |c| c)
    });
}

#[test]
fn the_plain_loop() {
    grid(4, |shape, arrival| {
        check(&shape, arrival, Form::Sequence, Plain)
    });
}

#[test]
fn step_by_step() {
    grid(8, |shape, arrival| {
        check(&shape.one_way(), arrival, Form::StepByStep, |c| c)
    });
}

/// Every combination of the options beyond PyTorch's; kinks are few.
#[test]
fn variants() {
    let (mut rough, mut smooth) = (Tally::default(), Tally::default());
    for (number, mut config) in crate::common::variants::variants(2, 3, false)
        .into_iter()
        .enumerate()
    {
        config.stack.bidirectional = number % 2 == 1;
        config.bias = [Bias::Both, Bias::Single, Bias::None][number % 3];
        let kinked = config.options.cell_clip.is_some() || !config.options.activations.is_empty();
        let mut shape = Shape::new(config, 3, 4, number as u64);
        shape.lengths = (number % 5 > 1).then(|| vec![2, 0, 3, 1]);
        let arrival = Arrival::ALL[number % 4 % 3];
        let found = check(&shape, arrival, Form::Sequence, |c| c);
        let tally = if kinked { &mut rough } else { &mut smooth };
        tally.values += found.values;
        tally.kinks += found.kinks;
    }
    assert!(rough.kinks * 100 <= rough.values, "{rough:?}");
    assert!(smooth.kinks == 0 && smooth.values > 0, "{smooth:?}");
}

#[test]
fn a_cell_of_ones_own() {
    for arrival in Arrival::ALL {
        for (form, bidirectional) in [
            (Form::Sequence, true),
            (Form::Sequence, false),
            (Form::StepByStep, false),
        ] {
            let shape = Shape {
                config: RecurrentConfig::new(CellKind::Rnn, 1, 1), // not used
                seq_len: 4,
                batch: 4,
                lengths: (form == Form::Sequence).then(|| vec![2, 4, 0, 3]),
                resets: None,
                fresh: false,
                training: false,
                seed: 3,
            };
            let plain = StackConfig {
                num_layers: 2,
                bidirectional,
                ..StackConfig::default()
            };
            let more = StackConfig {
                merge: match bidirectional {
                    true => Merge::Product,
                    false => Merge::Concat,
                },
                residual: true,
                weight_drop: 0.3,
                zoneout_hidden: 0.2,
                zoneout_cell: 0.4,
                learn_initial_state: true,
                ..plain.clone()
            };
            for config in [plain, more] {
                let mut problem = Problem::of(&shape, config, 2, |_, input_size| Leaky {
                    input_size,
                    hidden_size: 3,
                    k: 0.3,
                });
                problem.dropout = Some(Key::new(1, Purpose::Dropout));
                problem.state.reset_rows(&[0]).unwrap();
                let name = format!("{form:?} {arrival:?} {:?}", problem.stack.config());
                let tally = check_problem(problem, arrival, form, &name);
                assert_eq!(tally.kinks, 0);
            }
        }
    }
}

#[test]
fn linear() {
    for (n, inputs, outputs, bias) in [(1, 1, 1, true), (5, 3, 2, true), (4, 17, 9, false)] {
        let mut layout = Layout::new();
        let linear = Linear::new(&mut layout, "head", inputs, outputs, bias).unwrap();
        let mut params = Params::zeros(layout.into());
        let mut values = numbers::<f64>(1, params.values().len());
        params.values_mut().copy_from_slice(&values);
        let mut x = numbers(2, n * inputs);
        let dy = numbers(3, n * outputs);
        let mut cache = LinearCache::default();
        let mut loss = |params: &Params<f64>, x: &[f64]| -> f64 {
            let mut y = vec![f64::NAN; n * outputs];
            linear.forward(params, x, &mut cache, &mut y).unwrap();
            y.iter().zip(&dy).map(|(y, d)| y * d).sum()
        };
        loss(&params, &x);
        let mut cache = LinearCache::default();
        let mut y = vec![0.0; n * outputs];
        linear.forward(&params, &x, &mut cache, &mut y).unwrap();
        let mut grads = Params::zeros(params.layout().clone());
        let mut dx = vec![0.0; x.len()];
        linear
            .backward(&x, &mut cache, &dy, &mut grads, Some(&mut dx))
            .unwrap();

        let found = gradcheck(&mut x, |x| loss(&params, x), &dx);
        assert!(found.error <= 1e-6 && found.kinks == 0, "{found:?}");
        let mut moved = params.clone();
        let with = |values: &[f64]| {
            moved.values_mut().copy_from_slice(values);
            loss(&moved, &x)
        };
        let found = gradcheck(&mut values, with, grads.values());
        assert!(found.error <= 1e-6 && found.kinks == 0, "{found:?}");
    }
}

/// An option by name, and how it is asked for.
type Choice = (&'static str, fn(&mut RecurrentConfig));

/// All options of a layer, but for those of PyTorch's that [`grid`] goes
/// through.
const CHOICES: [Choice; 28] = [
    ("reverse", |c| c.stack.reverse = true),
    ("merge", |c| c.stack.merge = Merge::Sum),
    ("merge", |c| c.stack.merge = Merge::Mean),
    ("merge", |c| c.stack.merge = Merge::Product),
    ("residual", |c| {
        // The connections of two layers, one of them not the last.
        (c.stack.residual, c.stack.num_layers) = (true, 3);
    }),
    ("hidden_sizes", |c| c.hidden_sizes = vec![3, 4]),
    ("dropout", |c| c.stack.dropout = 0.4),
    ("locked_dropout", |c| {
        (c.stack.dropout, c.stack.locked_dropout) = (0.4, true);
    }),
    ("recurrent_dropout", |c| c.stack.recurrent_dropout = 0.4),
    ("weight_drop", |c| c.stack.weight_drop = 0.4),
    ("zoneout_hidden", |c| c.stack.zoneout_hidden = 0.4),
    ("zoneout_cell", |c| c.stack.zoneout_cell = 0.4),
    ("learn_initial_state", |c| {
        c.stack.learn_initial_state = true
    }),
    ("batch_first", |c| c.stack.batch_first = true),
    ("proj_size", |c| c.proj_size = 2),
    ("bias", |c| c.bias = Bias::Single),
    ("bias", |c| c.bias = Bias::None),
    ("nonlinearity", |c| c.nonlinearity = Nonlinearity::Relu),
    ("activations", |c| {
        let function = [Activation::Softsign, Activation::Softplus];
        let count = c.cell_config(1, 1).activation_names().len();
        c.options.activations = function.into_iter().cycle().take(count).collect();
    }),
    ("reset_before", |c| c.options.reset_before = true),
    ("coupled", |c| c.options.coupled = true),
    ("peepholes", |c| c.options.peepholes = true),
    ("cell_clip", |c| c.options.cell_clip = Some(0.3)),
    ("layer_norm", |c| {
        // Zeros are where the normalisation bends too sharply for differences.
        (c.options.layer_norm, c.stack.learn_initial_state) = (true, true);
    }),
    ("init", |c| c.options.init.forget_bias = Some(1.0)),
    ("init", |c| c.options.init.orthogonal = true),
    ("init", |c| c.options.init.chrono = Some(9)),
    ("num_layers", |c| c.stack.num_layers = 1),
];

/// Options with kinks, or what looks like one: masks make zeros.
const BENT: [&str; 3] = ["nonlinearity", "cell_clip", "layer_norm"];

/// Every option with every other, two layers deep or three, forward and in both
/// directions, in training and not, over ragged rows that start afresh in
/// mid-sequence: each pair has the right gradients, or is refused by name.
#[test]
fn all_pairs_of_options() {
    let mut ran = [[0; 2]; 3];
    let mut kinked = Tally::default();
    for (i, one) in CHOICES.iter().enumerate() {
        for (j, two) in CHOICES.iter().enumerate().skip(i) {
            let cases = CellKind::ALL.into_iter().enumerate();
            for ((k, kind), both) in cases.flat_map(|case| [(case, false), (case, true)]) {
                let mut config = RecurrentConfig::new(kind, 2, 3);
                config.stack.num_layers = 2;
                config.stack.bidirectional = both;
                // The number of activations depends on the other option.
                let mut options = [one, two];
                options.sort_by_key(|(name, _)| *name == "activations");
                options.iter().for_each(|(_, set)| set(&mut config));
                if let Err(error) = config.stack(&mut Layout::new(), "") {
                    let error = error.to_string();
                    let named = options.iter().any(|(name, _)| error.contains(name));
                    assert!(named, "{options:?}: {error}");
                    continue;
                }
                let seed = (i * 100 + j) as u64;
                let mut shape = Shape {
                    resets: Some(Array2::from_shape_fn((4, 3), |(t, b)| (t + 2 * b) % 3 == 1)),
                    lengths: Some(vec![2, 4, 3]),
                    fresh: true,
                    training: (i + j) % 3 != 0,
                    ..Shape::new(config, 4, 3, seed)
                };
                let reverse = shape.config.stack.reverse || both;
                let form = match (reverse, (i + j) % 2) {
                    (false, 1) => Form::StepByStep,
                    _ => Form::Sequence,
                };
                if form == Form::StepByStep {
                    shape = shape.one_way();
                }
                let arrival = Arrival::ALL[(i + j + k) % 3];
                let tally = match j % 4 {
                    0 => check(&shape, arrival, form, Plain),
                    _ => check(&shape, arrival, form, |c| c),
                };
                if options.iter().any(|(name, _)| BENT.contains(name)) {
                    kinked.values += tally.values;
                    kinked.kinks += tally.kinks;
                } else {
                    assert_eq!(tally.kinks, 0, "{options:?}");
                }
                ran[k][usize::from(both)] += 1;
            }
        }
    }
    assert!(kinked.kinks * 100 <= kinked.values, "{kinked:?}");
    // Of 406 pairs in one direction and as many in both; what is missing was
    // refused.
    assert_eq!(ran, [[148, 185], [165, 204], [268, 317]]);
}

/// Where gradients come in.
#[derive(Debug, Clone, Copy)]
enum Arrival {
    Both,
    Outputs,
    States,
}

impl Arrival {
    const ALL: [Self; 3] = [Self::Both, Self::Outputs, Self::States];
}

/// What was compared, and what of it left out.
#[derive(Debug, Default)]
struct Tally {
    values: usize,
    kinks: usize,
}

/// Calls `check` with a part of all combinations of options in which every two
/// choices meet, and sees that kinks are few, and only where relu is.
fn grid(offset: usize, check: impl Fn(Shape, Arrival) -> Tally) {
    let all: usize = OPTIONS.iter().product();
    let mut pairs = HashSet::new();
    let mut relu = Tally::default();
    for number in (offset..all).step_by(7) {
        let mut rest = number;
        let choice = OPTIONS.map(|n| {
            let digit = rest % n;
            rest /= n;
            digit
        });
        for (p, a) in choice.iter().enumerate() {
            for (q, b) in choice.iter().enumerate().skip(p + 1) {
                pairs.insert((p, *a, q, *b));
            }
        }
        let [
            cell,
            layers,
            both_ways,
            ragged,
            bias,
            batch_first,
            arrival,
            dropout,
        ] = choice;
        let (rnn, lstm) = (CellKind::Rnn, CellKind::Lstm);
        let kind = [rnn, CellKind::Gru, lstm, rnn, lstm][cell];
        let mut config = RecurrentConfig::new(kind, 2, 3);
        if cell == 3 {
            config.nonlinearity = Nonlinearity::Relu;
        }
        if cell == 4 {
            config.proj_size = 2;
        }
        config.bias = [Bias::Both, Bias::Single, Bias::None][bias];
        config.stack = StackConfig {
            num_layers: layers + 1,
            bidirectional: both_ways == 1,
            batch_first: batch_first == 1,
            dropout: [0.0, 0.4][dropout],
            ..StackConfig::default()
        };
        let shape = Shape {
            config,
            seq_len: 3,
            batch: 4,
            lengths: (ragged == 1).then(|| vec![2, 0, 3, 1]),
            resets: None,
            fresh: false,
            training: true,
            seed: number as u64,
        };
        let tally = check(shape, Arrival::ALL[arrival]);
        if cell == 3 {
            relu.values += tally.values;
            relu.kinks += tally.kinks;
        } else {
            assert_eq!(tally.kinks, 0);
        }
    }
    assert!(relu.kinks * 100 <= relu.values, "{relu:?}");
    let expected: usize = (0..OPTIONS.len())
        .flat_map(|p| (0..p).map(move |q| OPTIONS[p] * OPTIONS[q]))
        .sum();
    assert_eq!(pairs.len(), expected);
}

fn check<C: Cell<f64>>(
    shape: &Shape,
    arrival: Arrival,
    form: Form,
    wrap: impl Fn(AnyCell) -> C,
) -> Tally {
    let name = format!("{form:?} {arrival:?} {shape:?}");
    check_problem(Problem::new(shape, wrap), arrival, form, &name)
}

/// Compares all gradients.
fn check_problem<C: Cell<f64>>(
    mut problem: Problem<f64, C>,
    arrival: Arrival,
    form: Form,
    name: &str,
) -> Tally {
    match arrival {
        Arrival::Both => {}
        Arrival::Outputs => problem.d_state.clear(),
        Arrival::States => problem.d_y = None,
    }
    let mut cache = StackCache::default();
    let answer = problem.run(form, &mut cache);
    let mut moved = problem.clone();
    let mut tally = Tally::default();
    let mut compare = |what: &str, values: &[f64], gradient: &[f64], put: Put<'_, C>| {
        let mut values = values.to_vec();
        let loss = |values: &[f64]| {
            put(&mut moved, values);
            moved.loss(form, &mut cache)
        };
        let found = gradcheck(&mut values, loss, gradient);
        put(&mut moved, &values);
        assert!(found.error <= 1e-6, "{name}, {what}: {found:?}");
        tally.values += values.len();
        tally.kinks += found.kinks;
    };

    let input = problem.x.as_slice().unwrap();
    let dx = answer.dx.as_slice().unwrap();
    compare("input", input, dx, &|p, v| {
        p.x.as_slice_mut().unwrap().copy_from_slice(v);
    });
    for slot in 0..problem.state.slots() {
        let (state, d_state) = (problem.state.slot(slot), answer.d_state.slot(slot));
        let fresh: Vec<_> = (0..problem.batch())
            .filter(|row| problem.state.is_fresh(*row))
            .collect();
        compare("initial state", state, d_state, &|p, v| {
            p.state.slot_mut(slot).copy_from_slice(v);
            // A fresh row's own numbers are not read where a state is learned.
            if p.stack.config().learn_initial_state {
                p.state.reset_rows(&fresh).unwrap();
            }
        });
    }
    for entry in problem.params.layout().entries() {
        let range = entry.range.clone();
        let gradient = &answer.grads.values()[range.clone()];
        let weights = &problem.params.values()[range.clone()];
        compare(&entry.name, weights, gradient, &|p, v| {
            p.params.values_mut()[range.clone()].copy_from_slice(v);
        });
    }
    tally
}

/// Puts the values of one tensor into a problem.
type Put<'a, C> = &'a dyn Fn(&mut Problem<f64, C>, &[f64]);
