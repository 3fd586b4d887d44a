//! Every network: gradients against finite differences, rows that do not know
//! of each other, layers put together by hand, and what is refused.

use crate::common::{gradcheck, numbers};
use elman::cell::{Bias, CellKind, Nonlinearity};
use elman::layer::{Linear, LinearCache, Merge, Pass, RecurrentConfig, StackCache, State};
use elman::ndarray::{Array2, Array3, Axis, concatenate, s};
use elman::network::{
    AnyCache, AnyNetwork, ChainConfig, ChainLayer, EncoderDecoderConfig, Inputs, NamedLayer,
    Network, NetworkConfig, OneToManyConfig, Readout, SequenceConfig, Skip,
};
use elman::params::{Entry, Layout, Params};
use elman::rng::{Key, Purpose};
use elman::{Error, Result};
use proptest::prelude::*;
use std::collections::HashSet;

/// RNN with tanh and with relu, GRU, LSTM without and with a projection; two
/// features in, three units.
fn recurrent(cell: usize, num_layers: usize) -> RecurrentConfig {
    let (rnn, lstm) = (CellKind::Rnn, CellKind::Lstm);
    let kinds = [rnn, rnn, CellKind::Gru, lstm, lstm];
    let mut config = RecurrentConfig::new(kinds[cell], 2, 3);
    config.proj_size = [0, 0, 0, 0, 2][cell];
    if cell == 1 {
        config.nonlinearity = Nonlinearity::Relu;
    }
    config.bias = [
        Bias::Both,
        Bias::Single,
        Bias::None,
        Bias::Both,
        Bias::Single,
    ][cell];
    config.stack.num_layers = num_layers;
    if num_layers > 1 {
        config.stack.dropout = 0.3;
    }
    config
}

fn sequence(recurrent: RecurrentConfig, readout: Readout, head_dropout: f64) -> SequenceConfig {
    SequenceConfig {
        recurrent,
        readout,
        outputs: 2,
        head_dropout,
        skip: None,
    }
}

/// With a skip connection from five features.
fn skipping(mut config: SequenceConfig) -> NetworkConfig {
    config.skip = Some(Skip {
        inputs: 5,
        dropout: 0.3,
    });
    NetworkConfig::Sequence(config)
}

fn matrix(seed: u64, rows: usize, columns: usize) -> Array2<f64> {
    array(seed, (1, rows, columns)).remove_axis(Axis(0))
}

fn encoder_decoder(recurrent: RecurrentConfig, known: usize) -> NetworkConfig {
    NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
        recurrent,
        known,
        outputs: 2,
        steps: 3,
    })
}

fn one_to_many(recurrent: RecurrentConfig) -> NetworkConfig {
    NetworkConfig::OneToMany(OneToManyConfig {
        recurrent,
        inputs: 4,
        steps: 3,
    })
}

fn array(seed: u64, dim: (usize, usize, usize)) -> Array3<f64> {
    Array3::from_shape_vec(dim, numbers(seed, dim.0 * dim.1 * dim.2)).unwrap()
}

/// A network with numbers for all that goes in, and all gradients that arrive.
#[derive(Debug, Clone)]
struct Problem {
    network: AnyNetwork,
    params: Params<f64>,
    input: Array3<f64>,
    known: Option<Array3<f64>>,
    start: Option<Array2<f64>>,
    skip: Option<Array2<f64>>,
    teacher: Option<Array3<f64>>,
    lengths: Option<Vec<usize>>,
    /// Where rows start afresh, (T, B).
    resets: Option<Array2<bool>>,
    dropout: Option<Key>,
    first_row: usize,
    first_layer: u32,
    state: State<f64>,
    d_y: Array3<f64>,
    d_state: State<f64>,
}

/// All that comes out.
struct Answer {
    y: Array3<f64>,
    state: State<f64>,
    dx: Array3<f64>,
    d_state: State<f64>,
    grads: Params<f64>,
}

impl Problem {
    /// Masks are drawn; an input of so many steps of (B, I) = (3, features).
    fn new(config: &NetworkConfig, seq_len: usize, features: usize, seed: u64) -> Self {
        let network = config.build().unwrap();
        let mut params = Params::zeros(Network::<f64>::layout(&network).clone());
        let n = params.values().len();
        params.values_mut().copy_from_slice(&numbers(seed, n));
        let input = array(seed + 1, (seq_len, 3, features));
        let dim = network
            .output_dim(&Inputs::sequences(input.view()))
            .unwrap();
        let filled = |seed: u64| {
            let mut state = network.start(3);
            for slot in 0..state.slots() {
                let values = state.slot_mut(slot);
                values.copy_from_slice(&numbers(seed + slot as u64, values.len()));
            }
            state
        };
        Self {
            params,
            input,
            known: None,
            start: None,
            skip: None,
            teacher: None,
            lengths: None,
            resets: None,
            dropout: Some(Key::new(seed, Purpose::Dropout).step(7)),
            first_row: 0,
            first_layer: 0,
            state: filled(seed + 100),
            d_y: array(seed + 2, dim),
            d_state: filled(seed + 200),
            network,
        }
    }

    fn inputs(&self) -> Inputs<'_, f64> {
        Inputs {
            input: self.input.view(),
            indices: None,
            known: self.known.as_ref().map(|a| a.view()),
            start: self.start.as_ref().map(|a| a.view()),
            skip: self.skip.as_ref().map(|a| a.view()),
            teacher: self.teacher.as_ref().map(|a| a.view()),
        }
    }

    fn forward(&self, cache: &mut AnyCache<f64>) -> (Array3<f64>, State<f64>) {
        let pass = Pass {
            lengths: self.lengths.as_deref(),
            resets: self.resets.as_ref().map(|r| r.view()),
            dropout: self.dropout,
            first_row: self.first_row,
            first_layer: self.first_layer,
            ..Pass::default()
        };
        let mut y = Array3::from_elem(self.d_y.dim(), f64::NAN);
        let mut state = self.state.clone();
        let (params, view) = (&self.params, y.view_mut());
        self.network
            .forward(params, &self.inputs(), &pass, &mut state, cache, view)
            .unwrap();
        (y, state)
    }

    fn run(&self, cache: &mut AnyCache<f64>) -> Answer {
        let (y, state) = self.forward(cache);
        let mut dx = Array3::zeros(self.input.dim());
        let mut d_state = self.d_state.clone();
        let mut grads = Params::zeros(self.params.layout().clone());
        self.network
            .backward(
                &self.params,
                &self.inputs(),
                cache,
                self.d_y.view(),
                &mut d_state,
                &mut grads,
                Some(dx.view_mut()),
            )
            .unwrap();
        Answer {
            y,
            state,
            dx,
            d_state,
            grads,
        }
    }

    /// Rows whose state is learned: their own numbers are not read.
    fn fresh_rows(&self) -> Vec<usize> {
        let learned = |e: &Entry| e.name.contains("_0_l");
        let learned = self.params.layout().entries().iter().any(learned);
        let rows = 0..self.state.batch();
        rows.filter(|row| learned && self.state.is_fresh(*row))
            .collect()
    }

    /// What the gradients are of: `sum(y * d_y) + sum(state * d_state)`.
    fn loss(&self, cache: &mut AnyCache<f64>) -> f64 {
        let (y, state) = self.forward(cache);
        let mut sum: f64 = y.iter().zip(&self.d_y).map(|(y, d)| y * d).sum();
        for slot in 0..state.slots() {
            let pairs = state.slot(slot).iter().zip(self.d_state.slot(slot));
            sum += pairs.map(|(s, d)| s * d).sum::<f64>();
        }
        sum
    }

    /// The same for some rows alone.
    fn rows(&self, from: usize, to: usize) -> Self {
        let cut = |a: &Array3<f64>| a.slice(s![.., from..to, ..]).to_owned();
        let cut_rows = |a: &Array2<f64>| a.slice(s![from..to, ..]).to_owned();
        let numbers: Vec<_> = (from..to).collect();
        Self {
            input: cut(&self.input),
            known: self.known.as_ref().map(cut),
            teacher: self.teacher.as_ref().map(cut),
            start: self.start.as_ref().map(cut_rows),
            skip: self.skip.as_ref().map(cut_rows),
            lengths: self.lengths.as_ref().map(|l| l[from..to].to_vec()),
            resets: (self.resets.as_ref()).map(|r| r.slice(s![.., from..to]).to_owned()),
            first_row: self.first_row + from,
            state: self.state.select_rows(&numbers).unwrap(),
            d_y: cut(&self.d_y),
            d_state: self.d_state.select_rows(&numbers).unwrap(),
            ..self.clone()
        }
    }
}

/// Every kind of problem, by name, and whether it has kinks.
fn problems() -> Vec<(String, bool, Problem)> {
    let mut problems = Vec::new();
    let mut add = |name: String, relu, problem| problems.push((name, relu, problem));
    for cell in 0..5 {
        for layers in [1, 2] {
            let seed = (10 * cell + layers) as u64 * 1000;
            let stack = recurrent(cell, layers);
            for number in 0..64 {
                let bit = |i: usize| number >> i & 1;
                let readout = [
                    Readout::EveryStep,
                    Readout::LastState,
                    Readout::LastSteps(2),
                    Readout::AllStates(4),
                ][bit(0) + 2 * bit(1)];
                let (ragged, both_ways, head, skip) = (bit(2), bit(3), bit(4), bit(5));
                // Readouts that take one length only, and one of any length.
                if ragged == 1 && bit(1) == 1 || skip == 1 && readout == Readout::EveryStep {
                    continue;
                }
                let mut stack = stack.clone();
                stack.stack.bidirectional = both_ways == 1;
                let config = sequence(stack, readout, [0.0, 0.4][head]);
                let config = match skip {
                    0 => NetworkConfig::Sequence(config),
                    _ => skipping(config),
                };
                let mut problem = Problem::new(&config, 4, 2, seed + number as u64);
                problem.lengths = (ragged == 1).then(|| vec![2, 4, 0]);
                problem.skip = (skip == 1).then(|| matrix(seed + 6, 3, 5));
                add(format!("{config:?}, ragged {ragged}"), cell == 1, problem);
            }
            for number in 0..24 {
                let (known, start, ragged) = (number & 1, number >> 1 & 1, number >> 2 & 1);
                let config = encoder_decoder(stack.clone(), 2 * known);
                let mut problem = Problem::new(&config, 4, 2, seed + number as u64);
                problem.known = (known == 1).then(|| array(seed + 3, (3, 3, 2)));
                problem.start = (start == 1).then(|| matrix(seed + 4, 3, 2));
                problem.lengths = (ragged == 1).then(|| vec![2, 4, 0]);
                problem.teacher = teacher(number >> 3, seed);
                add(format!("{config:?}, number {number}"), cell == 1, problem);
            }
            for forced in 0..3 {
                let config = one_to_many(stack.clone());
                let mut problem = Problem::new(&config, 1, 4, seed + forced as u64);
                problem.teacher = teacher(forced, seed);
                add(format!("{config:?}, forced {forced}"), cell == 1, problem);
            }
        }
    }
    for (name, problem) in stack_options() {
        add(name, false, problem);
    }
    problems
}

/// What a stack has beyond PyTorch's, in every network that has it: two layers,
/// two rows that start from a state of their own, and one fresh.
fn stack_options() -> Vec<(String, Problem)> {
    type Set = fn(&mut RecurrentConfig);
    let options: [(&str, Set); 10] = [
        ("hidden_sizes", |c| c.hidden_sizes = vec![3, 4]),
        ("reverse", |c| c.stack.reverse = true),
        ("residual", |c| c.stack.residual = true),
        ("locked_dropout", |c| c.stack.locked_dropout = true),
        ("recurrent_dropout", |c| c.stack.recurrent_dropout = 0.4),
        ("weight_drop", |c| c.stack.weight_drop = 0.4),
        ("zoneout_hidden", |c| c.stack.zoneout_hidden = 0.4),
        ("learn_initial_state", |c| {
            c.stack.learn_initial_state = true
        }),
        ("bidirectional", |c| {
            (c.stack.bidirectional, c.stack.merge) = (true, Merge::Product);
        }),
        ("bidirectional", |c| {
            (c.stack.bidirectional, c.stack.merge) = (true, Merge::Mean);
        }),
    ];
    let mut problems = Vec::new();
    let mut refused = Vec::new();
    for (number, (name, set)) in options.into_iter().enumerate() {
        for cell in [2, 3] {
            let mut config = recurrent(cell, 2);
            set(&mut config);
            let readout = |readout| NetworkConfig::Sequence(sequence(config.clone(), readout, 0.0));
            let networks = [
                ("every_step", readout(Readout::EveryStep)),
                ("last_state", readout(Readout::LastState)),
                ("last_steps", readout(Readout::LastSteps(2))),
                ("encoder_decoder", encoder_decoder(config.clone(), 0)),
                ("one_to_many", one_to_many(config.clone())),
            ];
            for (network, config) in networks {
                if let Err(e) = config.build() {
                    assert!(e.is_option() && e.to_string().contains(name), "{e}");
                    refused.push((network, name));
                    continue;
                }
                let (steps, features) = match network {
                    "one_to_many" => (1, 4),
                    _ => (4, 2),
                };
                let seed = 500 + number as u64;
                let mut problem = Problem::new(&config, steps, features, seed);
                if network != "one_to_many" {
                    problem.state.reset_rows(&[1]).unwrap();
                    let marks = [[1, 0], [2, 2], [3, 0]];
                    let marks = |(t, b)| marks.contains(&[t, b]);
                    problem.resets = Some(Array2::from_shape_fn((4, 3), marks));
                }
                if ["every_step", "last_state"].contains(&network) {
                    problem.lengths = Some(vec![4, 2, 3]);
                }
                problems.push((format!("{config:?}"), problem));
            }
        }
    }
    let mut seen = HashSet::new();
    refused.retain(|pair| seen.insert(*pair));
    assert_eq!(
        refused,
        [
            ("one_to_many", "reverse"),
            ("last_state", "residual"),
            ("one_to_many", "learn_initial_state"),
            ("encoder_decoder", "bidirectional"),
            ("one_to_many", "bidirectional"),
        ]
    );
    problems
}

/// None; all true outputs; the true outputs with missing ones.
fn teacher(forced: usize, seed: u64) -> Option<Array3<f64>> {
    let mut truth = array(seed + 5, (3, 3, 2));
    if forced == 2 {
        truth[[0, 1, 0]] = f64::NAN;
        truth.slice_mut(s![1, 2, ..]).fill(f64::NAN);
    }
    (forced > 0).then_some(truth)
}

#[test]
fn gradients() {
    let (mut values, mut kinks) = (0, 0);
    for (name, relu, problem) in problems() {
        let mut cache = AnyCache::Empty;
        let answer = problem.run(&mut cache);
        let mut moved = problem.clone();
        let mut compare = |what: &str, at: &[f64], gradient: &[f64], put: Put<'_>| {
            let mut at = at.to_vec();
            let loss = |at: &[f64]| {
                put(&mut moved, at);
                moved.loss(&mut cache)
            };
            let found = gradcheck(&mut at, loss, gradient);
            put(&mut moved, &at);
            assert!(found.error <= 1e-6, "{name}, {what}: {found:?}");
            assert!(relu || found.kinks == 0, "{name}, {what}: {found:?}");
            values += at.len();
            kinks += found.kinks;
        };
        let input = problem.input.as_slice().unwrap();
        compare("input", input, answer.dx.as_slice().unwrap(), &|p, v| {
            p.input.as_slice_mut().unwrap().copy_from_slice(v);
        });
        for slot in 0..problem.state.slots() {
            let (state, d_state) = (problem.state.slot(slot), answer.d_state.slot(slot));
            let fresh = problem.fresh_rows();
            compare("initial state", state, d_state, &|p, v| {
                p.state.slot_mut(slot).copy_from_slice(v);
                p.state.reset_rows(&fresh).unwrap();
            });
        }
        for entry in problem.params.layout().entries() {
            let range = entry.range.clone();
            let (weights, grads) = (problem.params.values(), answer.grads.values());
            let (weights, grads) = (&weights[range.clone()], &grads[range.clone()]);
            compare(&entry.name, weights, grads, &|p, v| {
                p.params.values_mut()[range.clone()].copy_from_slice(v);
            });
        }
    }
    assert!(kinks * 500 <= values, "{kinks} of {values}");
}

type Put<'a> = &'a dyn Fn(&mut Problem, &[f64]);

/// A row has the same bits in any batch, alone, or in any part of one whose
/// first row is named; so have its gradients.
#[test]
fn rows_do_not_know_of_each_other() {
    let bits = |a: Array3<f64>| a.mapv(f64::to_bits);
    for (name, _, problem) in problems() {
        let mut cache = AnyCache::Empty;
        let whole = problem.run(&mut cache);
        for (from, to) in [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (3, 3)] {
            let part = problem.rows(from, to).run(&mut cache);
            let cut = |a: &Array3<f64>| a.slice(s![.., from..to, ..]).to_owned();
            assert_eq!(bits(part.y), bits(cut(&whole.y)), "{name}");
            assert_eq!(bits(part.dx), bits(cut(&whole.dx)), "{name}");
            let rows: Vec<_> = (from..to).collect();
            for (part, whole) in [(part.state, &whole.state), (part.d_state, &whole.d_state)] {
                assert_eq!(part, whole.select_rows(&rows).unwrap(), "{name}");
            }
        }
    }
}

/// Padding reaches nothing: neither NaN in the input, nor what arrives there.
#[test]
fn padding_is_never_read() {
    for (name, _, problem) in problems() {
        let Some(lengths) = &problem.lengths else {
            continue;
        };
        let mut cache = AnyCache::Empty;
        let clean = problem.run(&mut cache);
        let mut dirty = problem.clone();
        let padded = dirty.d_y.len_of(Axis(0)) == dirty.input.len_of(Axis(0));
        for (row, length) in lengths.iter().enumerate() {
            let past = s![*length.., row, ..];
            dirty.input.slice_mut(past).fill(f64::NAN);
            if padded {
                dirty.d_y.slice_mut(past).fill(f64::NAN);
                assert!(clean.y.slice(past).iter().all(|y| *y == 0.0), "{name}");
            }
        }
        let dirty = dirty.run(&mut cache);
        assert_eq!(dirty.y, clean.y, "{name}");
        assert_eq!(dirty.dx, clean.dx, "{name}");
        assert_eq!(dirty.grads.values(), clean.grads.values(), "{name}");
    }
}

/// An encoder-decoder is its layers by hand, each with masks of its own.
#[test]
fn layers_by_hand() {
    for cell in 0..5 {
        let config = recurrent(cell, 3);
        let mut problem = Problem::new(&encoder_decoder(config.clone(), 1), 4, 2, 5);
        problem.known = Some(array(8, (3, 3, 1)));
        problem.teacher = teacher(1, 6);
        for first_layer in [0, 40] {
            problem.first_layer = first_layer;
            let y = problem.forward(&mut AnyCache::Empty).0;
            let by_hand = |decoder_layer| by_hand(&problem, &config, decoder_layer);
            assert_eq!(by_hand(first_layer + 3), y);
            assert_ne!(
                by_hand(first_layer),
                y,
                "the decoder has the encoder's masks"
            );
        }
    }
}

/// The prediction of an encoder-decoder under teacher forcing, whose decoder's
/// masks are those of layers from `decoder_layer` on.
fn by_hand(problem: &Problem, config: &RecurrentConfig, decoder_layer: u32) -> Array3<f64> {
    let of = |layout: Layout, prefix: &str| {
        let mut params = Params::<f64>::zeros(layout.into());
        for entry in params.layout().clone().entries() {
            let values = problem.params.get(&format!("{prefix}.{}", entry.name));
            params
                .set(&entry.name, values.unwrap().as_slice().unwrap())
                .unwrap();
        }
        params
    };
    let mut state = problem.state.clone();
    let mut run = |input_size, prefix, x: &Array3<f64>, first_layer| {
        let mut layout = Layout::new();
        let config = RecurrentConfig {
            input_size,
            ..config.clone()
        };
        let stack = config.stack(&mut layout, "").unwrap();
        let pass = Pass {
            dropout: problem.dropout,
            first_layer,
            ..Pass::default()
        };
        let mut h = Array3::zeros((x.len_of(Axis(0)), 3, stack.output_size()));
        let (params, view) = (of(layout, prefix), h.view_mut());
        let mut cache = StackCache::default();
        stack
            .forward(&params, x.view(), &pass, &mut state, &mut cache, view)
            .unwrap();
        h
    };
    run(2, "encoder", &problem.input, problem.first_layer);
    let truth = problem.teacher.as_ref().unwrap();
    let before = concatenate![
        Axis(0),
        Array3::zeros((1, 3, 2)),
        truth.slice(s![..2, .., ..])
    ];
    let known = problem.known.as_ref().unwrap();
    let h = run(
        3,
        "decoder",
        &concatenate![Axis(2), before, *known],
        decoder_layer,
    );
    let mut layout = Layout::new();
    let head = Linear::new(&mut layout, "", h.len_of(Axis(2)), 2, true).unwrap();
    let params = of(layout, "head");
    let mut y = vec![0.0; 18];
    let h = h.as_slice().unwrap();
    head.forward(&params, h, &mut LinearCache::default(), &mut y)
        .unwrap();
    Array3::from_shape_vec((3, 3, 2), y).unwrap()
}

#[test]
fn options_that_are_refused() {
    let plain = || recurrent(2, 1);
    let with = |change: &dyn Fn(&mut RecurrentConfig)| {
        let mut config = plain();
        change(&mut config);
        config
    };
    let batch_first = with(&|c| c.stack.batch_first = true);
    let both_ways = with(&|c| c.stack.bidirectional = true);
    let no_features = with(&|c| c.input_size = 0);
    let no_units = with(&|c| c.hidden_size = 0);
    let readout = |config, readout| NetworkConfig::Sequence(sequence(config, readout, 0.0));
    let last = |config| readout(config, Readout::LastState);
    let head_dropout = |p| NetworkConfig::Sequence(sequence(plain(), Readout::LastState, p));
    let skip = |readout, inputs, dropout| {
        NetworkConfig::Sequence(SequenceConfig {
            skip: Some(Skip { inputs, dropout }),
            ..sequence(plain(), readout, 0.0)
        })
    };
    let outputs = |n| SequenceConfig {
        recurrent: plain(),
        readout: Readout::EveryStep,
        outputs: n,
        head_dropout: 0.0,
        skip: None,
    };
    let steps = |n| EncoderDecoderConfig {
        recurrent: plain(),
        known: 0,
        outputs: 1,
        steps: n,
    };
    let lines = |inputs, steps| OneToManyConfig {
        recurrent: plain(),
        inputs,
        steps,
    };
    let no_outputs = EncoderDecoderConfig {
        outputs: 0,
        known: 1,
        ..steps(1)
    };
    for (config, words) in [
        (last(batch_first.clone()), "batch_first"),
        (encoder_decoder(batch_first.clone(), 0), "batch_first"),
        (one_to_many(batch_first), "batch_first"),
        (encoder_decoder(both_ways.clone(), 0), "bidirectional"),
        (one_to_many(both_ways), "bidirectional"),
        (last(no_features.clone()), "input_size"),
        (encoder_decoder(no_features.clone(), 0), "input_size"),
        (one_to_many(no_features), "input_size"),
        (last(no_units.clone()), "hidden_size"),
        (encoder_decoder(no_units.clone(), 0), "hidden_size"),
        (one_to_many(no_units), "more than zero"),
        (NetworkConfig::Sequence(outputs(0)), "out_features"),
        (NetworkConfig::EncoderDecoder(no_outputs), "out_features"),
        (NetworkConfig::OneToMany(lines(0, 1)), "in_features"),
        (NetworkConfig::OneToMany(lines(1, 0)), "steps must be"),
        (
            NetworkConfig::OneToMany(lines(1, 1 << 40)),
            "steps: expected at most",
        ),
        (NetworkConfig::EncoderDecoder(steps(0)), "steps must be"),
        (
            NetworkConfig::EncoderDecoder(steps(1 << 40)),
            "steps: expected at most",
        ),
        (readout(plain(), Readout::LastSteps(0)), "readout"),
        (readout(plain(), Readout::AllStates(0)), "readout"),
        (readout(plain(), Readout::AllStates(usize::MAX)), "memory"),
        (head_dropout(1.0), "head_dropout"),
        (head_dropout(f64::NAN), "head_dropout"),
        (skip(Readout::LastState, 5, 1.0), "skip.dropout"),
        (skip(Readout::LastState, 0, 0.0), "in_features"),
        (skip(Readout::EveryStep, 5, 0.0), "every_step"),
        (skip(Readout::LastSteps(usize::MAX), 5, 0.0), "memory"),
    ] {
        let e = config.build().unwrap_err();
        assert!(
            e.is_option() && e.to_string().contains(words),
            "{words}: {e}"
        );
    }
}

/// One change to a good problem and what is said about it.
#[test]
fn calls_that_are_refused() {
    type Change = fn(&mut Problem);
    let check = |good: &Problem, changes: &[(&str, Change)]| {
        for (words, change) in changes {
            let mut problem = good.clone();
            change(&mut problem);
            let e = attempt(&problem, &problem).unwrap_err();
            assert!(e.to_string().contains(words), "{words}: {e}");
        }
        // The pass back is not the pass forward's.
        let mut other = good.rows(0, 2);
        other.dropout = None;
        let e = attempt(good, &other).unwrap_err();
        assert!(e.is_shape(), "{e}");
        attempt(good, good).unwrap();
    };
    let of_all: [(&str, Change); 4] = [
        ("parameters of another network", |p| {
            p.params = Params::zeros(Layout::new().into());
        }),
        ("prediction: expected", |p| p.d_y = array(1, (7, 3, 2))),
        ("Expected hidden size (1, 3, 3), got [1, 2, 3]", |p| {
            p.state = p.network.start(2);
        }),
        ("Expected hidden size (1, 3, 3), got [1, 2, 3]", |p| {
            p.d_state = p.network.start(2);
        }),
    ];
    for readout in [
        Readout::EveryStep,
        Readout::LastState,
        Readout::LastSteps(2),
        Readout::AllStates(4),
    ] {
        let config = NetworkConfig::Sequence(sequence(recurrent(2, 1), readout, 0.0));
        let good = Problem::new(&config, 4, 2, 0);
        check(&good, &of_all);
        check(
            &good,
            &[
                ("Expected 2, got 5", |p| p.input = array(1, (4, 3, 5))),
                ("known", |p| p.known = Some(array(1, (1, 3, 1)))),
                ("start", |p| p.start = Some(Array2::zeros((3, 2)))),
                ("skip", |p| p.skip = Some(Array2::zeros((3, 5)))),
                ("teacher", |p| p.teacher = Some(array(1, (1, 3, 2)))),
                ("lengths", |p| p.lengths = Some(vec![5, 1, 1])),
            ],
        );
        let ragged: Change = |p| p.lengths = Some(vec![4, 1, 2]);
        let short: Change = |p| p.input = array(1, (1, 3, 2));
        let fixed = |words| {
            check(
                &good,
                &[("sequences of one length", ragged), (words, short)],
            )
        };
        match readout {
            Readout::LastSteps(_) => fixed("at least 2 steps, which the head reads, got 1"),
            Readout::AllStates(_) => fixed("expected 4 steps, whose states"),
            Readout::EveryStep | Readout::LastState => {}
        }
    }
    let config = skipping(sequence(recurrent(2, 1), Readout::LastSteps(2), 0.0));
    let mut good = Problem::new(&config, 4, 2, 0);
    good.skip = Some(matrix(1, 3, 5));
    check(&good, &of_all);
    check(
        &good,
        &[
            ("it is missing", |p| p.skip = None),
            ("skip: expected (3, 5), got (2, 5)", |p| {
                p.skip = Some(Array2::zeros((2, 5)));
            }),
        ],
    );
    let mut good = Problem::new(&encoder_decoder(recurrent(2, 1), 2), 4, 2, 0);
    good.known = Some(array(1, (3, 3, 2)));
    check(&good, &of_all);
    check(
        &good,
        &[
            ("they are missing", |p| p.known = None),
            ("known: expected (3, 3, 2), got (2, 3, 2)", |p| {
                p.known = Some(array(1, (2, 3, 2)));
            }),
            ("start: expected (3, 2)", |p| {
                p.start = Some(Array2::zeros((2, 2)));
            }),
            ("teacher: expected (3, 3, 2)", |p| {
                p.teacher = Some(array(1, (3, 3, 1)));
            }),
            ("skip", |p| p.skip = Some(Array2::zeros((3, 5)))),
            ("lengths", |p| p.lengths = Some(vec![1])),
        ],
    );
    let good = Problem::new(&one_to_many(recurrent(2, 1)), 1, 4, 0);
    check(&good, &of_all);
    check(
        &good,
        &[
            ("input: expected (1, 3, 4), got (2, 3, 4)", |p| {
                p.input = array(1, (2, 3, 4));
            }),
            ("known", |p| p.known = Some(array(1, (3, 3, 1)))),
            ("start", |p| p.start = Some(Array2::zeros((3, 2)))),
            ("skip", |p| p.skip = Some(Array2::zeros((3, 5)))),
            ("lengths", |p| p.lengths = Some(vec![1, 1, 1])),
            ("resets", |p| {
                p.resets = Some(Array2::from_elem((1, 3), true))
            }),
        ],
    );
}

/// Forward with one problem's arguments, backward with another's.
fn attempt(there: &Problem, back: &Problem) -> Result<()> {
    attempt_with(there, back, &mut AnyCache::Empty)
}

fn attempt_with(there: &Problem, back: &Problem, cache: &mut AnyCache<f64>) -> Result<()> {
    let pass = Pass {
        lengths: there.lengths.as_deref(),
        resets: there.resets.as_ref().map(|r| r.view()),
        dropout: there.dropout,
        first_row: there.first_row,
        first_layer: there.first_layer,
        ..Pass::default()
    };
    let mut y = there.d_y.clone();
    let (params, mut state) = (&there.params, there.state.clone());
    let (inputs, view) = (there.inputs(), y.view_mut());
    let forward = (there.network).forward(params, &inputs, &pass, &mut state, cache, view);
    // The way back is tried also where the way there failed.
    let mut dx = Array3::zeros(back.input.dim());
    let mut grads = Params::zeros(back.params.layout().clone());
    let backward = back.network.backward(
        &back.params,
        &back.inputs(),
        cache,
        back.d_y.view(),
        &mut back.d_state.clone(),
        &mut grads,
        Some(dx.view_mut()),
    );
    forward.and(backward)
}

#[test]
fn the_cache_of_another_network() {
    let config = sequence(recurrent(2, 1), Readout::LastState, 0.0);
    let config = NetworkConfig::Sequence(config);
    let sequence = Problem::new(&config, 4, 2, 0);
    let decoder = Problem::new(&encoder_decoder(recurrent(2, 1), 0), 4, 2, 0);
    let refused = |e: Error| assert!(e.to_string().contains("cache"), "{e}");
    refused(attempt(&sequence, &decoder).unwrap_err());
    let mut grads = Params::zeros(sequence.params.layout().clone());
    for cache in [AnyCache::Empty, AnyCache::Sequence(Default::default())] {
        let (mut cache, mut d_state) = (cache, sequence.d_state.clone());
        let (params, inputs) = (&sequence.params, sequence.inputs());
        let d_y = sequence.d_y.view();
        let back = (sequence.network).backward(
            params,
            &inputs,
            &mut cache,
            d_y,
            &mut d_state,
            &mut grads,
            None,
        );
        refused(back.unwrap_err());
    }
}

/// A size that may be one off.
fn near(n: usize) -> impl Strategy<Value = usize> {
    prop_oneof![8 => Just(n), 1 => Just(n + 1), 1 => Just(n.saturating_sub(1))]
}

fn near_array(t: usize, b: usize, features: usize) -> impl Strategy<Value = Array3<f64>> {
    (near(t), near(b), near(features)).prop_map(|dim| Array3::from_elem(dim, 0.5))
}

fn near_matrix(rows: usize, columns: usize) -> impl Strategy<Value = Array2<f64>> {
    (near(rows), near(columns)).prop_map(|dim| Array2::from_elem(dim, 0.5))
}

/// Layers one after another, and merged directions whose last state is read.
fn chains() -> Vec<(String, bool, Problem)> {
    let mut all = Vec::new();
    let mut add = |config: NetworkConfig| {
        let problem = Problem::new(&config, 4, 2, 7);
        all.push((format!("{config:?}"), false, problem));
    };
    let named = |prefix: &str, layer| NamedLayer {
        prefix: prefix.to_owned(),
        layer,
    };
    let linear = |in_features| ChainLayer::Linear {
        in_features,
        out_features: 2,
        bias: true,
    };
    for (cell, both_ways) in [(1, false), (2, true), (4, false)] {
        let mut layer = recurrent(cell, 2);
        layer.stack.bidirectional = both_ways;
        let width = layer.output_size();
        for last in [
            None,
            Some(ChainLayer::LastState),
            Some(ChainLayer::LastOutput),
        ] {
            let mut layers = vec![named("rnn", ChainLayer::Recurrent(layer.clone()))];
            layers.extend(last.map(|last| named("", last)));
            layers.push(named("head", linear(width)));
            add(NetworkConfig::Chain(ChainConfig { layers }));
        }
        if both_ways {
            layer.stack.merge = Merge::Product;
            let config = sequence(layer, Readout::LastState, 0.0);
            add(NetworkConfig::Sequence(config));
        }
    }
    all
}

/// A problem with arrays, states and parameters that may not fit it.
fn calls() -> impl Strategy<Value = Problem> {
    let mut all = problems();
    all.extend(chains());
    let count = all.len();
    let pick = move |n: usize| all[n].2.clone();
    (0..count, 0..count, prop::bool::weighted(0.9)).prop_flat_map(move |(n, other, same)| {
        let mut problem = pick(n);
        if !same {
            let other = pick(other);
            problem.params = other.params;
            problem.state = other.state;
        }
        let (t, b, i) = problem.input.dim();
        let (k, _, o) = problem.d_y.dim();
        let known = problem.known.as_ref().map_or(0, |a| a.dim().2);
        // What a network reads is mostly there, and the rest mostly not.
        let there = |given: bool| if given { 0.9 } else { 0.1 };
        let optional =
            |given, features| prop::option::weighted(there(given), near_array(k, b, features));
        let beside =
            |given, features| prop::option::weighted(there(given), near_matrix(b, features));
        let arrays = (
            near_array(t, b, i),
            near_array(k, b, o),
            optional(problem.known.is_some(), known),
            optional(problem.teacher.is_some(), o),
            beside(problem.start.is_some(), o),
            beside(problem.skip.is_some(), 5),
        );
        let lengths = near(b).prop_flat_map(move |b| prop::collection::vec(near(t), b));
        let lengths = prop::option::weighted(there(problem.lengths.is_some()), lengths);
        let rest = (near(b), any::<usize>(), any::<u32>());
        (Just(problem), arrays, lengths, rest).prop_map(|(problem, arrays, lengths, rest)| {
            let (input, d_y, known, teacher, start, skip) = arrays;
            let (batch, first_row, first_layer) = rest;
            let rows: Vec<_> = (0..batch.min(problem.d_state.batch())).collect();
            Problem {
                input,
                known,
                teacher,
                start,
                skip,
                lengths,
                first_row,
                first_layer,
                d_y,
                d_state: problem.d_state.select_rows(&rows).unwrap(),
                ..problem
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn nothing_panics(there in calls(), back in calls()) {
        let mut cache = AnyCache::Empty;
        let _ = attempt_with(&there, &back, &mut cache);
        let _ = attempt_with(&back, &there, &mut cache);
        let _ = attempt_with(&there, &there, &mut cache);
    }
}
