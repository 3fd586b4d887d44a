//! What PyTorch refuses is refused in its words, and nothing panics.

use crate::common::leaky::Leaky;
use crate::common::numbers;
use crate::common::problem::{Shape, shapes};
use elman::cell::{
    Activation, AnyCell, Bias, Cell, CellKind, CellOptions, Nonlinearity, Part, Rows, RowsBack,
};
use elman::layer::{
    Merge, Pass, Recurrent, RecurrentConfig, Stack, StackCache, StackConfig, State,
};
use elman::ndarray::{Array1, Array2, Array3, ArrayD};
use elman::network::{Network, Readout, Sequence, SequenceConfig};
use elman::params::{Layout, Params};
use elman::rng::{Key, Purpose};
use elman::{Error, Result};
use proptest::prelude::*;

fn stack(config: &RecurrentConfig) -> (Stack<AnyCell>, Params<f64>) {
    let mut layout = Layout::new();
    let stack = config.stack(&mut layout, "").unwrap();
    let mut params = Params::zeros(layout.into());
    let n = params.values().len();
    params.values_mut().copy_from_slice(&numbers(0, n));
    (stack, params)
}

#[test]
fn options() {
    let check = |change: &dyn Fn(&mut RecurrentConfig), text: &str| {
        let mut config = RecurrentConfig::new(CellKind::Lstm, 2, 3);
        change(&mut config);
        let error = Recurrent::<f32>::new(&config, 0).unwrap_err();
        assert!(
            error.is_option() && error.to_string().contains(text),
            "{error}"
        );
        let mut layout = Layout::new();
        let named = config.stack(&mut layout, "rnn").unwrap_err();
        assert!(named.to_string().ends_with(&error.to_string()), "{named}");
        assert!(layout.is_empty(), "a refused layer left parameters behind");
    };
    for dropout in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        check(
            &|c| c.stack.dropout = dropout,
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed",
        );
    }
    check(
        &|c| c.input_size = 0,
        "input_size must be greater than zero",
    );
    type Share = fn(&mut RecurrentConfig) -> &mut f64;
    let shares: [(&str, Share); 4] = [
        ("recurrent_dropout", |c| &mut c.stack.recurrent_dropout),
        ("weight_drop", |c| &mut c.stack.weight_drop),
        ("zoneout_hidden", |c| &mut c.stack.zoneout_hidden),
        ("zoneout_cell", |c| &mut c.stack.zoneout_cell),
    ];
    for (name, share) in shares {
        for p in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let text = format!("{name}: expected a probability in range [0, 1], got {p}");
            check(&|c| *share(c) = p, &text);
        }
    }
    check(
        &|c| (c.stack.reverse, c.stack.bidirectional) = (true, true),
        "reverse: a bidirectional stack has a reverse direction already",
    );
    for merge in [Merge::Sum, Merge::Mean, Merge::Product] {
        check(
            &|c| c.stack.merge = merge,
            "merge: there are two directions to merge with bidirectional only",
        );
    }
    check(
        &|c| c.stack.locked_dropout = true,
        "locked_dropout: there are no masks to lock; set dropout above 0",
    );
    check(
        &|c| c.stack.residual = true,
        "residual: connections go from the second layer on; set num_layers above 1",
    );
    check(
        &|c| {
            c.hidden_sizes = vec![3, 4];
            (c.stack.num_layers, c.stack.residual) = (2, true);
        },
        "residual: layer 1 reads 3 features and gives 4; give all layers one size",
    );
    check(
        &|c| c.hidden_sizes = vec![3, 3],
        "hidden_sizes: expected 1 entries = num_layers, or none, got 2",
    );
    check(
        &|c| c.hidden_sizes = vec![4],
        "hidden_sizes: the first layer has 4 here and 3 in hidden_size",
    );
    check(
        &|c| {
            c.hidden_sizes = vec![3, 0];
            c.stack.num_layers = 2;
        },
        "hidden_size must be greater than zero",
    );
    check(
        &|c| {
            (c.hidden_sizes, c.proj_size) = (vec![3, 2], 2);
            c.stack.num_layers = 2;
        },
        "proj_size has to be smaller than hidden_size",
    );
    for kind in [CellKind::Rnn, CellKind::Gru] {
        check(
            &|c| (c.cell, c.stack.zoneout_cell) = (kind, 0.5),
            "zoneout_cell: this cell has no state beside h",
        );
    }
    check(
        &|c| c.hidden_size = 0,
        "hidden_size must be greater than zero",
    );
    check(
        &|c| c.stack.num_layers = 0,
        "num_layers must be greater than zero",
    );
    check(
        &|c| c.stack.num_layers = 1 << 60,
        "num_layers: expected at most 1024, got 1152921504606846976",
    );
    check(&|c| c.hidden_size = 1 << 31, "more than memory can hold");
    for size in [1 << 60, usize::MAX] {
        check(&|c| c.hidden_size = size, "more than memory can hold");
        check(&|c| c.input_size = size, "more than memory can hold");
    }
    check(
        &|c| c.nonlinearity = Nonlinearity::Relu,
        "nonlinearity: only an RNN has a choice of activation, not a LSTM",
    );
    for kind in [CellKind::Rnn, CellKind::Gru] {
        check(
            &|c| (c.cell, c.proj_size) = (kind, 2),
            "proj_size argument is only supported for LSTM, not RNN or GRU",
        );
    }
    for proj_size in [3, 4, usize::MAX] {
        check(
            &|c| c.proj_size = proj_size,
            "proj_size has to be smaller than hidden_size",
        );
    }
    assert_eq!("relu".parse(), Ok(Nonlinearity::Relu));
    let error = "gelu".parse::<Nonlinearity>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "Unknown nonlinearity 'gelu'. Select from 'tanh' or 'relu'."
    );
    let error = "lstmm".parse::<CellKind>().unwrap_err();
    assert!(
        error.to_string().contains("use rnn, gru or lstm"),
        "{error}"
    );
}

/// Options beyond PyTorch's that do not go together, or not with the cell; each
/// refusal names both.
#[test]
fn cell_options() {
    use CellKind::{Gru, Lstm, Rnn};
    let check = |kind: CellKind, change: &dyn Fn(&mut RecurrentConfig), words: &[&str]| {
        let mut config = RecurrentConfig::new(kind, 2, 3);
        change(&mut config);
        let error = Recurrent::<f32>::new(&config, 0).unwrap_err();
        assert_eq!(config.cell(2, 3).unwrap_err(), error);
        for word in words {
            let found = error.is_option() && error.to_string().contains(word);
            assert!(found, "{error}: no {word}");
        }
    };
    for kind in [Rnn, Lstm] {
        let words = ["reset_before: for GRU only", &format!("not {kind}")];
        check(kind, &|c| c.options.reset_before = true, &words);
    }
    for kind in [Rnn, Gru] {
        for (name, change) in [
            (
                "peepholes",
                (|c| c.options.peepholes = true) as fn(&mut RecurrentConfig),
            ),
            ("coupled", |c| c.options.coupled = true),
            ("cell_clip", |c| c.options.cell_clip = Some(1.0)),
            ("init.forget_bias", |c| {
                c.options.init.forget_bias = Some(1.0)
            }),
        ] {
            let words = [&format!("{name}: for LSTM only"), &format!("not {kind}")];
            check(kind, &change, &words.map(String::as_str));
        }
    }
    check(
        Rnn,
        &|c| c.options.init.chrono = Some(9),
        &["init.chrono: for GRU and LSTM only, not RNN"],
    );
    check(
        Gru,
        &|c| (c.options.reset_before, c.options.layer_norm) = (true, true),
        &["reset_before with layer_norm"],
    );
    for clip in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e60] {
        check(
            Lstm,
            &|c| c.options.cell_clip = Some(clip),
            &["cell_clip: expected a positive finite number, got"],
        );
    }
    for (kind, coupled, words) in [
        (Rnn, false, "activations: expected 1 (RNN: h), got 2"),
        (Gru, false, "activations: expected 3 (GRU: r, z, n), got 2"),
        (Lstm, false, "expected 5 (LSTM: i, f, g, o, cell), got 2"),
        (Lstm, true, "expected 4 (LSTM: i, g, o, cell), got 2"),
    ] {
        let two = vec![Activation::Relu; 2];
        let change = |c: &mut RecurrentConfig| {
            c.options.activations = two.clone();
            c.options.coupled = coupled;
        };
        check(kind, &change, &[words]);
    }
    check(
        Rnn,
        &|c| {
            c.nonlinearity = Nonlinearity::Relu;
            c.options.activations = vec![Activation::Elu];
        },
        &["nonlinearity with activations"],
    );
    check(
        Lstm,
        &|c| {
            let init = &mut c.options.init;
            (init.forget_bias, init.chrono) = (Some(1.0), Some(9));
        },
        &["init.forget_bias with init.chrono"],
    );
    check(
        Lstm,
        &|c| (c.options.coupled, c.options.init.forget_bias) = (true, Some(1.0)),
        &["init.forget_bias with coupled"],
    );
    for value in [f64::NAN, f64::INFINITY, 1e60] {
        check(
            Lstm,
            &|c| c.options.init.forget_bias = Some(value),
            &["init.forget_bias: expected a finite number, got"],
        );
    }
    for steps in [0, 2] {
        let words = format!("init.chrono: expected at least 3 steps, got {steps}");
        check(Lstm, &|c| c.options.init.chrono = Some(steps), &[&words]);
    }
    for kind in [Gru, Lstm] {
        let change = |c: &mut RecurrentConfig| {
            c.bias = Bias::None;
            c.options.init.chrono = Some(9);
        };
        check(kind, &change, &["init.chrono with bias none"]);
    }
    // Sizes without bound reach no arithmetic of a cell.
    let bad = |c: &mut RecurrentConfig| {
        c.options.layer_norm = true;
        c.hidden_size = usize::MAX;
    };
    for kind in CellKind::ALL {
        let mut config = RecurrentConfig::new(kind, 2, 3);
        bad(&mut config);
        let error = Recurrent::<f32>::new(&config, 0).unwrap_err();
        let words = "more than memory can hold";
        assert!(error.to_string().contains(words), "{error}");
    }
    let json = r#"{"peephole": true}"#;
    let error = serde_json::from_str::<CellOptions>(json).unwrap_err();
    let words = "unknown field `peephole`";
    assert!(error.to_string().contains(words), "{error}");
}

/// A cell that has no use for an option refuses it by name.
#[test]
fn options_of_a_cell_of_ones_own() {
    let check = |change: &dyn Fn(&mut StackConfig), text: &str| {
        let mut config = StackConfig::default();
        change(&mut config);
        let mut layout = Layout::new();
        let cell = |_, input_size| Leaky {
            input_size,
            hidden_size: 3,
            k: 0.3,
        };
        let error = Stack::new::<f64>(&mut layout, "", config.clone(), 2, cell);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        let no_weights = |_, input_size| NoWeights { input_size };
        let error = Stack::new::<f64>(&mut layout, "", config, 2, no_weights);
        assert!(error.is_err() && layout.is_empty());
    };
    check(
        &|c| c.recurrent_dropout = 0.5,
        "recurrent_dropout: the products of this cell read no masked state",
    );
    let mut layout = Layout::new();
    let config = StackConfig {
        weight_drop: 0.5,
        ..StackConfig::default()
    };
    let cell = |_, input_size| NoWeights { input_size };
    let error = Stack::new::<f64>(&mut layout, "", config, 2, cell).unwrap_err();
    let text = "weight_drop: this cell has no parameter `weight_hh` to drop weights of";
    assert_eq!(error.to_string(), text);
}

/// Hands its input on.
#[derive(Debug, Clone)]
struct NoWeights {
    input_size: usize,
}

impl Cell<f64> for NoWeights {
    fn input_size(&self) -> usize {
        self.input_size
    }

    fn hidden_size(&self) -> usize {
        self.input_size
    }

    fn states(&self) -> Vec<Part> {
        let (name, shape) = ("h", vec![self.input_size]);
        vec![Part { name, shape }]
    }

    fn params(&self) -> Vec<Part> {
        Vec::new()
    }

    fn saved(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn step(&self, _: &[f64], row: Rows<'_, f64>) {
        row.next.copy_from_slice(row.x);
    }

    fn step_back(&self, _: &[f64], row: RowsBack<'_, f64>) {
        row.d_state.fill(0.0);
    }
}

/// What is legal and yet looks like a mistake comes back in PyTorch's words.
/// Sizes that a number of bytes can count, and no system can hold.
#[test]
fn memory_that_ends() {
    let config = RecurrentConfig::new(CellKind::Lstm, 2, 1 << 27);
    let layer = Recurrent::<f32>::new(&config, 0).unwrap_err();
    let network = Sequence::new(&SequenceConfig {
        recurrent: config,
        readout: Readout::LastState,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    });
    let params: Result<Params<f32>> = network.unwrap().try_init(0);
    for e in [layer, params.unwrap_err()] {
        assert!(e.is_option());
        assert!(e.to_string().contains("more than memory can hold"), "{e}");
    }
}

#[test]
fn warnings() {
    let mut config = RecurrentConfig::new(CellKind::Gru, 2, 3);
    assert!(config.warnings().is_empty());
    config.stack.dropout = 1.0;
    assert_eq!(
        config.warnings(),
        [
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater than 1, but got dropout=1.0 and num_layers=1"
        ]
    );
    config.stack.num_layers = 2;
    assert!(config.warnings().is_empty());
}

/// Options at their defaults are not in a file, others come back from it.
#[test]
fn options_in_files() {
    let mut config = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    assert_eq!(
        serde_json::to_string(&config).unwrap(),
        r#"{"cell":"lstm","input_size":2,"hidden_size":3,"bias":"both","nonlinearity":"tanh","proj_size":0,"stack":{"num_layers":1,"bidirectional":false,"batch_first":false,"dropout":0.0}}"#
    );
    config.hidden_sizes = vec![3, 4];
    config.stack = StackConfig {
        num_layers: 2,
        bidirectional: true,
        batch_first: true,
        dropout: 0.5,
        locked_dropout: true,
        reverse: true,
        merge: Merge::Product,
        residual: true,
        recurrent_dropout: 0.1,
        weight_drop: 0.2,
        zoneout_hidden: 0.3,
        zoneout_cell: 0.4,
        learn_initial_state: true,
    };
    let json = serde_json::to_string(&config).unwrap();
    let back: RecurrentConfig = serde_json::from_str(&json).unwrap();
    assert_eq!(back, config);
}

/// An option that nobody knows is an error, and never ignored.
#[test]
fn unknown_options() {
    let config = RecurrentConfig::new(CellKind::Gru, 2, 3);
    let mut json = serde_json::to_value(&config).unwrap();
    assert_eq!(
        serde_json::from_value::<RecurrentConfig>(json.clone()).unwrap(),
        config
    );
    // Files of before there were projections have none.
    assert_eq!(
        json.as_object_mut().unwrap().remove("proj_size"),
        Some(0.into())
    );
    assert_eq!(
        serde_json::from_value::<RecurrentConfig>(json.clone()).unwrap(),
        config
    );
    json["projection"] = 2.into();
    let error = serde_json::from_value::<RecurrentConfig>(json.clone()).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `projection`"),
        "{error}"
    );
    let _ = json.as_object_mut().unwrap().remove("projection");
    json["nonlinearity"] = "gelu".into();
    let error = serde_json::from_value::<RecurrentConfig>(json).unwrap_err();
    assert!(
        error.to_string().contains("expected `tanh` or `relu`"),
        "{error}"
    );
}

#[test]
fn shapes_of_inputs_and_states() {
    let forward = |kind, input: (usize, usize, usize), lengths: Option<&[usize]>, state| {
        let mut config = RecurrentConfig::new(kind, 2, 3);
        config.stack.num_layers = 2;
        let layer = Recurrent::<f64>::new(&config, 0).unwrap();
        let input = Array3::zeros(input);
        layer.forward(input.view(), lengths, state).unwrap_err()
    };
    let check = |error: Error, text: &str| {
        assert!(
            error.is_shape() && error.to_string().contains(text),
            "{error}"
        );
    };
    let (gru, lstm) = (CellKind::Gru, CellKind::Lstm);
    check(
        forward(gru, (4, 5, 7), None, None),
        "input.size(-1) must be equal to input_size. Expected 2, got 7",
    );
    let input = (4, 5, 2);
    let state = |kind, hidden_size, num_layers, batch| {
        let mut config = RecurrentConfig::new(kind, 2, hidden_size);
        config.stack.num_layers = num_layers;
        Some(stack(&config).0.start::<f64>(batch))
    };
    check(
        forward(gru, input, None, state(gru, 3, 2, 4)),
        "Expected hidden size (2, 5, 3), got [2, 4, 3]",
    );
    check(
        forward(gru, input, None, state(gru, 3, 1, 5)),
        "Expected hidden size (2, 5, 3), got [1, 5, 3]",
    );
    check(
        forward(CellKind::Rnn, input, None, state(gru, 8, 2, 5)),
        "Expected hidden size (2, 5, 3), got [2, 5, 8]",
    );
    check(
        forward(lstm, input, None, state(lstm, 3, 2, 4)),
        "Expected hidden[0] size (2, 5, 3), got [2, 4, 3]",
    );
    // Both or neither: an LSTM has no use for a state of one part.
    check(
        forward(lstm, input, None, state(gru, 3, 2, 5)),
        "state: expected 2 slots of 5 rows with the parts of this stack's cells",
    );
    check(
        forward(gru, input, None, state(lstm, 3, 2, 5)),
        "with other parts; the stack's `start` makes one that fits",
    );
    for (part, text) in [
        ("h", "h_0: Expected hidden[0] size (2, 5, 3), got [2, 5, 4]"),
        ("c", "c_0: Expected hidden[1] size (2, 5, 3), got [2, 5, 4]"),
    ] {
        let mut state = state(lstm, 3, 2, 5).unwrap();
        check(
            state
                .set(part, Array3::zeros((2, 5, 4)).view())
                .unwrap_err(),
            text,
        );
    }
    let mut one_row = state(gru, 3, 2, 1).unwrap();
    let mut state = state(gru, 3, 2, 5).unwrap();
    let error = state.set("h", Array3::zeros((5, 2, 3)).view()).unwrap_err();
    check(error, "h_0: Expected hidden size (2, 5, 3), got [5, 2, 3]");
    let error = state.set("c", Array3::zeros((2, 5, 3)).view()).unwrap_err();
    assert!(
        error.is_option() && error.to_string().contains("no state `c`"),
        "{error}"
    );

    let error = state.set("h", Array2::zeros((2, 3)).view()).unwrap_err();
    check(
        error,
        "h_0: For batched 3-D input, hx should also be 3-D but got 2-D tensor",
    );
    let error = one_row.set("h", Array1::zeros(3).view()).unwrap_err();
    check(error, "or 2-D for unbatched 2-D input, but got 1-D tensor");
    one_row.set("h", Array2::zeros((2, 3)).view()).unwrap();
    assert!(one_row.row("h", 1).is_none() && one_row.row("c", 0).is_none());

    check(
        forward(gru, input, Some(&[4, 4, 4, 4]), None),
        "lengths: expected 5 entries, one a row of the batch, got 4",
    );
    check(
        forward(gru, input, Some(&[4, 0, 5, 1, 2]), None),
        "lengths: row 2 has 5 steps, the input has 4",
    );
}

#[test]
fn ranks_of_inputs() {
    let check = |error: Error, text: &str| {
        assert!(
            error.is_shape() && error.to_string().contains(text),
            "{error}"
        );
    };
    for kind in CellKind::ALL {
        let layer = Recurrent::<f64>::new(&RecurrentConfig::new(kind, 2, 3), 0).unwrap();
        for rank in [0, 1, 4] {
            let input = ArrayD::zeros(vec![2; rank]);
            let text = format!("{kind}: Expected input to be 2D or 3D, got {rank}D tensor instead");
            check(layer.forward(input.view(), None, None).unwrap_err(), &text);
            check(layer.start(&input.view()).unwrap_err(), &text);
            let (mut state, mut cache) = (layer.stack().start(1), StackCache::default());
            let dim = input.raw_dim();
            let back = layer.backward(&mut cache, None, &mut state, dim);
            check(back.unwrap_err(), &text);
        }
        let input = Array2::zeros((4, 2));
        let forward = |input: &Array2<f64>, state| layer.forward(input.view(), None, Some(state));
        let state = layer.stack().start(2);
        check(
            forward(&input, state).unwrap_err(),
            "For unbatched 2-D input, hx should also be 2-D but got 3-D tensor: the state has 2 rows",
        );
        let wide = Array2::zeros((4, 5));
        check(
            forward(&wide, layer.stack().start(1)).unwrap_err(),
            "input.size(-1) must be equal to input_size. Expected 2, got 5",
        );
        // No more memory is asked for than there is.
        let mut state = layer.stack().start(1);
        let back = layer.backward(
            &mut StackCache::default(),
            None,
            &mut state,
            (usize::MAX, 2),
        );
        check(back.unwrap_err(), "more than memory can hold");
    }
}

#[test]
fn parameters_of_another_layer() {
    let config = RecurrentConfig::new(CellKind::Gru, 2, 3);
    let other = RecurrentConfig::new(CellKind::Gru, 2, 4);
    let (stack, params) = (stack(&config).0, stack(&other).1);
    assert!(
        Recurrent::with_params(&config, params.clone())
            .unwrap_err()
            .is_shape()
    );

    let mut layout = Layout::new();
    layout.push("weight_ih_l0", &[9, 2]).unwrap();
    let few = Params::<f64>::zeros(layout.into());
    let x = Array3::zeros((4, 1, 2));
    let mut y = Array3::zeros((4, 1, 3));
    let mut state = stack.start(1);
    let mut cache = StackCache::default();
    let pass = Pass::default();
    let error = stack
        .forward(&few, x.view(), &pass, &mut state, &mut cache, y.view_mut())
        .unwrap_err();
    assert!(
        error.to_string().contains("laid out for another network"),
        "{error}"
    );
}

#[test]
fn one_direction_only() {
    let mut config = RecurrentConfig::new(CellKind::Gru, 2, 3);
    let mut cache = StackCache::default();
    for (name, bidirectional) in [("bidirectional", true), ("reverse", false)] {
        config.stack.bidirectional = bidirectional;
        config.stack.reverse = !bidirectional;
        let (both, params) = stack(&config);
        let x = Array2::zeros((1, 2));
        let mut y = Array2::zeros((1, 3));
        let mut state = both.start(1);
        let step = both.step(&params, x.view(), &mut state, &mut cache, y.view_mut());
        let begin = both.begin_at(4, 1, &Pass::default(), &state, &mut cache);
        for error in [step.unwrap_err(), begin.unwrap_err()] {
            let reason = format!(
                "a {name} stack cannot go step by step: its reverse direction begins at the end of the sequence"
            );
            assert!(
                error.is_option() && error.to_string().contains(&reason),
                "{error}"
            );
        }
    }
    config.stack = StackConfig::default();
    let (one, _) = stack(&config);
    let pass = Pass {
        lengths: Some(&[3]),
        ..Pass::default()
    };
    let error = one
        .begin_at(4, 1, &pass, &one.start(1), &mut cache)
        .unwrap_err();
    assert!(
        error.is_option() && error.to_string().contains("lengths"),
        "{error}"
    );
}

#[test]
fn marks_of_another_shape() {
    let mut config = RecurrentConfig::new(CellKind::Gru, 2, 3);
    let marks = Array2::from_elem((4, 3), false);
    for (batch_first, text) in [
        (false, "resets: expected (T, B) = (3, 4), got (4, 3)"),
        (true, "resets: expected (B, T) = (3, 4), got (4, 3)"),
    ] {
        config.stack.batch_first = batch_first;
        let (stack, params) = stack(&config);
        let (x, mut y) = (Array3::zeros((3, 4, 2)), Array3::zeros((3, 4, 3)));
        let mut state = stack.start(if batch_first { 3 } else { 4 });
        let mut cache = StackCache::default();
        let pass = Pass {
            resets: Some(marks.view()),
            ..Pass::default()
        };
        let error = stack
            .forward(
                &params,
                x.view(),
                &pass,
                &mut state,
                &mut cache,
                y.view_mut(),
            )
            .unwrap_err();
        assert!(error.is_shape() && error.to_string() == text, "{error}");
    }
}

/// A call that is out of its order says what has to come before it.
#[test]
fn caches_that_hold_no_pass() {
    let (stack, params) = stack(&RecurrentConfig::new(CellKind::Lstm, 2, 3));
    let mut grads = Params::zeros(params.layout().clone());
    let mut state = stack.start(0);
    let (x, mut y) = (Array2::zeros((0, 2)), Array2::zeros((0, 3)));
    let mut dx = x.clone();
    let mut cache = StackCache::default();
    let results = [
        stack.backward(&params, &mut cache, None, &mut state, &mut grads, None),
        stack.forward_at(&params, 0, x.view(), &mut cache, y.view_mut()),
        stack.finish(&cache, &mut state),
        stack.begin_back(&state, &mut cache),
        stack.backward_at(&params, 0, &mut cache, y.view(), &mut grads, dx.view_mut()),
        stack.end_back(&mut cache, &mut grads, &mut state),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("no forward pass"), "{error}");
    }
    assert!(stack.trace(&cache).is_empty());

    let mut state = stack.start(1);
    stack
        .begin_at(2, 1, &Pass::default(), &state, &mut cache)
        .unwrap();
    let (y, mut dx) = (Array2::zeros((1, 3)), Array2::zeros((1, 2)));
    let results = [
        stack.backward_at(&params, 1, &mut cache, y.view(), &mut grads, dx.view_mut()),
        stack.end_back(&mut cache, &mut grads, &mut state),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("run `begin_back`"), "{error}");
    }
    stack.begin_back(&state, &mut cache).unwrap();
    let late = stack.backward_at(&params, 2, &mut cache, y.view(), &mut grads, dx.view_mut());
    assert!(late.unwrap_err().to_string().contains("step 2"));
}

/// A size that may be one off.
fn near(n: usize) -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(n), 1 => Just(n + 1), 1 => Just(n.saturating_sub(1))]
}

/// Arrays near a shape, by the sizes T, B and features.
fn array(t: usize, b: usize, features: usize) -> impl Strategy<Value = Array3<f64>> {
    (near(t), near(b), near(features)).prop_map(|dim| Array3::from_elem(dim, 0.5))
}

#[derive(Debug, Clone)]
struct Call {
    shape: Shape,
    /// The stack that the parameters and states are made for.
    other: Shape,
    x: Array3<f64>,
    y: Array3<f64>,
    dy: Option<Array3<f64>>,
    dx: Option<Array3<f64>>,
    lengths: Option<Vec<usize>>,
    resets: Option<Array2<bool>>,
    batches: (usize, usize),
    seq_len: usize,
    t: usize,
}

fn calls() -> impl Strategy<Value = Call> {
    (shapes(), shapes(), prop::bool::weighted(0.8)).prop_flat_map(|(shape, other, same)| {
        let (t, b) = (shape.seq_len, shape.batch);
        let i = shape.config.input_size;
        let o = shape.config.output_size();
        let arrays = (
            array(t, b, i),
            array(t, b, o),
            prop::option::of(array(t, b, o)),
            prop::option::of(array(t, b, i)),
        );
        let lengths =
            prop::option::of(near(b).prop_flat_map(move |b| prop::collection::vec(near(t), b)));
        let axes = if shape.config.stack.batch_first {
            (b, t)
        } else {
            (t, b)
        };
        let resets = prop::option::of((near(axes.0), near(axes.1)))
            .prop_map(|dim| dim.map(|dim| Array2::from_elem(dim, true)));
        let other = if same { shape.clone() } else { other };
        let sizes = ((near(b), near(b)), near(t), 0..5_usize);
        let marks = (lengths, resets);
        (Just(shape), Just(other), arrays, marks, sizes).prop_map(
            |(shape, other, (x, y, dy, dx), (lengths, resets), (batches, seq_len, t))| Call {
                shape,
                other,
                x,
                y,
                dy,
                dx,
                lengths,
                resets,
                batches,
                seq_len,
                t,
            },
        )
    })
}

/// Whether arrays and states of these sizes fit the stack.
fn fits(call: &Call, state: &State<f64>, expected: &State<f64>) -> bool {
    let axes = if call.shape.config.stack.batch_first {
        [1, 0]
    } else {
        [0, 1]
    };
    let (t, b) = (call.x.shape()[axes[0]], call.x.shape()[axes[1]]);
    let features = call.shape.config.input_size;
    let out = call.shape.config.output_size();
    call.x.shape()[2] == features
        && call.y.shape() == [call.x.shape()[0], call.x.shape()[1], out]
        && call
            .lengths
            .as_ref()
            .is_none_or(|l| l.len() == b && l.iter().all(|l| *l <= t))
        && (call.resets.as_ref()).is_none_or(|r| r.dim() == (call.x.shape()[0], call.x.shape()[1]))
        && state.batch() == b
        && (0..expected.slots())
            .map(|s| expected.width(s))
            .eq((0..state.slots()).map(|s| state.width(s)))
}

fn try_all(call: &Call) {
    let (stack, right) = stack(&call.shape.config);
    let (other, params) = self::stack(&call.other.config);
    let mut cache = StackCache::default();
    let mut state = other.start(call.batches.0);
    let mut d_state = other.start(call.batches.1);
    let mut grads = Params::zeros(params.layout().clone());
    let key = Key::new(call.shape.seed, Purpose::Dropout);
    let pass = Pass {
        lengths: call.lengths.as_deref(),
        resets: call.resets.as_ref().map(|r| r.view()),
        dropout: call.shape.training.then_some(key),
        ..Pass::default()
    };
    // Whole sequences, with the right and with any parameters.
    let legal = fits(call, &state, &stack.start(0));
    let (x, mut y) = (call.x.view(), call.y.clone());
    let forward = stack.forward(&right, x, &pass, &mut state, &mut cache, y.view_mut());
    assert_eq!(forward.is_ok(), legal, "{forward:?}");
    let mut dx = call.dx.clone();
    let mut backward = |cache: &mut _, d_state: &mut _| -> Result<()> {
        let dy = call.dy.as_ref().map(|d| d.view());
        let dx = dx.as_mut().map(|d| d.view_mut());
        stack.backward(&params, cache, dy, d_state, &mut grads, dx)
    };
    let first = backward(&mut cache, &mut d_state);
    assert!(legal || first.is_err(), "a pass back without one forward");
    let _ = other.forward(&params, x, &pass, &mut state, &mut cache, y.view_mut());
    let _ = backward(&mut cache, &mut d_state);

    // Step by step, with caches and states of any origin.
    let Some(x) = call.x.outer_iter().next() else {
        return;
    };
    let Some(mut y) = y.outer_iter_mut().next() else {
        return;
    };
    let (dy, mut dx) = (y.to_owned(), x.to_owned());
    for _ in 0..2 {
        let _ = stack.forward_at(&params, call.t, x, &mut cache, y.view_mut());
        let _ = stack.backward_at(
            &params,
            call.t,
            &mut cache,
            dy.view(),
            &mut grads,
            dx.view_mut(),
        );
        let _ = stack.end_back(&mut cache, &mut grads, &mut d_state);
        let _ = stack.finish(&cache, &mut state);
        let _ = stack.step(&params, x, &mut state, &mut cache, y.view_mut());
        let _ = stack.begin_at(call.seq_len, call.batches.0, &pass, &state, &mut cache);
        let _ = stack.forward_at(&params, call.t, x, &mut cache, y.view_mut());
        let _ = stack.begin_back(&d_state, &mut cache);
        let _ = stack.trace(&cache);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn nothing_panics(call in calls()) {
        try_all(&call);
    }
}

/// A layer of no bias, and of one, refuses the parameters of one with two.
#[test]
fn biases_are_not_ignored() {
    let config = |bias| {
        let mut config = RecurrentConfig::new(CellKind::Rnn, 2, 3);
        config.bias = bias;
        config
    };
    let all = [Bias::Both, Bias::Single, Bias::None];
    for (i, a) in all.into_iter().enumerate() {
        for (j, b) in all.into_iter().enumerate() {
            let params = stack(&config(b)).1;
            let layer = Recurrent::with_params(&config(a), params);
            assert_eq!(layer.is_ok(), i == j);
        }
    }
}
