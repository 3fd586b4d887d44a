//! Layers one after another: PyTorch's numbers through files, gradients by
//! finite differences, what is refused.

use crate::common::{Case, Fixtures, error, gradcheck, numbers};
use elman::Float;
use elman::cell::{Activation, CellKind};
use elman::layer::{Pass, RecurrentConfig, State};
use elman::ndarray::{Array2, Array3, ArrayD, Axis};
use elman::network::{
    Chain, ChainCache, ChainConfig, ChainLayer, Inputs, NamedLayer, Network, NetworkConfig,
};
use elman::params::{Layout, Params};
use elman::rng::{Key, Purpose, TorchRng};
use elman::run::{Declaration, RunOptions, run};
use elman::train::{Batch, Control, Examples, Progress, Threads, TrainConfig, evaluate, fit};
use elman::weights::{Model, TensorFile};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Whether a tensor of a case is given and not a result.
fn given(case: &Case<'_>, name: &str) -> bool {
    let of = |n: &str| case.names("").iter().any(|name| name == n);
    let gradient = name.starts_with("d_");
    !gradient && ["input", "lengths", "h_0", "c_0"].contains(&part_of(name))
        || name.strip_prefix("d_").is_some_and(|n| {
            of(n) && !n.starts_with("param.") && !["input", "h_0", "c_0"].contains(&part_of(n))
        })
}

fn part_of(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn file(case: &Case<'_>, keep: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let names = case.names("");
    let tensors = names.iter().filter_map(|n| Some((keep(n)?, case.view(n))));
    safetensors::serialize(tensors, None).unwrap()
}

fn chains() -> Fixtures {
    Fixtures::open("chains.safetensors")
}

#[test]
fn fixtures_through_files() {
    let mut seen = 0;
    let fixtures = chains();
    for case in fixtures.cases().filter(|c| !c.name.starts_with("init_")) {
        if case.options["dtype"] == "f64" {
            check::<f64>(&case, 1e-12);
        } else {
            check::<f32>(&case, 1e-5);
        }
        seen += 1;
    }
    assert_eq!(seen, 12);
}

fn check<F: Float>(case: &Case<'_>, bar: f64) {
    let model = file(case, |n| n.strip_prefix("param.").map(str::to_owned));
    let network = Declaration::parse(case.options["network"].as_str().unwrap()).unwrap();
    let options = RunOptions {
        trace: true,
        network: Some(network),
        ..RunOptions::default()
    };
    let input = file(case, |n| given(case, n).then(|| n.to_owned()));
    let ran = run(&model, &input, &options).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let out = TensorFile::read(&ran.bytes).unwrap();
    let mut compared = 0;
    for name in case.names("") {
        if given(case, &name) || name.starts_with("param.") {
            continue;
        }
        let got = out.get::<F>(&name.replacen("d_param.", "d_", 1)).unwrap();
        let got = got.unwrap_or_else(|| panic!("{}: no {name}", case.name));
        let e = error(got.view(), case.need(&name).view());
        assert!(e <= bar, "{} {name}: {e:e}", case.name);
        compared += 1;
    }
    assert!(compared > 6, "{}: {compared}", case.name);
    let traced = |n: &&str| n.starts_with("trace.") && n.ends_with(".h");
    assert!(out.names().iter().any(traced), "{}", case.name);

    // Batch first, each row alone, and from elman's own model file: the same.
    let swapped = swap::<F>(&input);
    let by_row = RunOptions {
        batch_first: true,
        ..options.clone()
    };
    let rows = run(&model, &swapped, &by_row).unwrap().bytes;
    let rows = TensorFile::read(&rows).unwrap();
    for name in out.names() {
        let (a, b) = (
            out.get::<F>(name).unwrap().unwrap(),
            rows.get::<F>(name).unwrap().unwrap(),
        );
        let turned = ["output", "d_input"].contains(&name) || name.starts_with("trace.");
        let a = if turned && a.ndim() == 3 {
            swap_axes(a)
        } else {
            a
        };
        assert_eq!(a, b, "{} {name}", case.name);
    }
    let file = TensorFile::read(&model).unwrap();
    let config = options.network.as_ref().unwrap().infer(&file).unwrap();
    let config = NetworkConfig::Chain(config);
    let network = config.build().unwrap();
    let mut params = Params::<F>::zeros(Network::<F>::layout(&network).clone());
    for name in file.names() {
        let values: Vec<F> = file.get(name).unwrap().unwrap().into_iter().collect();
        params.set(name, &values).unwrap();
    }
    let own = Model::new(config, vec![params], serde_json::Value::Null).unwrap();
    let plain = RunOptions {
        trace: true,
        ..RunOptions::default()
    };
    let again = run(&own.to_bytes().unwrap(), &input, &plain).unwrap();
    assert!(again.bytes == ran.bytes, "{}", case.name);
}

fn swap_axes<T: Clone>(mut array: ArrayD<T>) -> ArrayD<T> {
    array.swap_axes(0, 1);
    array.as_standard_layout().into_owned()
}

/// Input and gradient of the output with batch and time swapped.
fn swap<F: Float>(input: &[u8]) -> Vec<u8> {
    let file = TensorFile::read(input).unwrap();
    let names = file.names();
    let tensors = names.iter().map(|name| {
        let swapped =
            *name == "input" || *name == "d_output" && file.shape(name).unwrap().len() == 3;
        let mut bytes = Vec::new();
        let (dtype, shape) = if &*file.stored(name).unwrap() == "I64" {
            let a = file.get_i64(name).unwrap().unwrap();
            let a = if swapped { swap_axes(a) } else { a };
            a.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
            (Dtype::I64, a.shape().to_vec())
        } else {
            let a = file.get::<F>(name).unwrap().unwrap();
            let a = if swapped { swap_axes(a) } else { a };
            a.iter().for_each(|x| x.push_le(&mut bytes));
            let dtype = if F::BYTES == 4 {
                Dtype::F32
            } else {
                Dtype::F64
            };
            (dtype, a.shape().to_vec())
        };
        (*name, dtype, shape, bytes)
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors
        .iter()
        .map(|(n, d, s, b)| (*n, TensorView::new(*d, s.clone(), b).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn initial_embeddings_are_pytorchs() {
    let fixtures = chains();
    let mut seen = 0;
    for case in fixtures.cases().filter(|c| c.name.starts_with("init_")) {
        if case.options["dtype"] == "f64" {
            initial::<f64>(&case, 1e-14);
        } else {
            initial::<f32>(&case, 1e-6);
        }
        seen += 1;
    }
    assert_eq!(seen, 6);
}

fn initial<F: Float>(case: &Case<'_>, bar: f64) {
    let mut layout = Layout::new();
    let [n, dim] = [0, 1].map(|i| case.options["sizes"][i].as_u64().unwrap() as usize);
    let tables =
        ["0", "1"].map(|p| elman::layer::Embedding::new(&mut layout, p, n, dim, Some(1)).unwrap());
    let mut params = Params::<F>::zeros(layout.into());
    let mut rng = TorchRng::new(3);
    for (table, name) in tables.iter().zip(["0", "1"]) {
        table.init(&mut params, &mut rng);
        let got = params.get(&format!("{name}.weight")).unwrap();
        let e = error(got, case.need(name).view());
        assert!(e <= bar, "{} {name}: {e:e}", case.name);
    }
}

fn named(layers: Vec<(&str, ChainLayer)>) -> ChainConfig {
    let layers = layers.into_iter().map(|(prefix, layer)| NamedLayer {
        prefix: prefix.into(),
        layer,
    });
    ChainConfig {
        layers: layers.collect(),
    }
}

fn linear(in_features: usize, out_features: usize) -> ChainLayer {
    ChainLayer::Linear {
        in_features,
        out_features,
        bias: true,
    }
}

fn norm(features: usize) -> ChainLayer {
    ChainLayer::LayerNorm {
        features,
        eps: 1e-3,
        bias: true,
    }
}

fn embedding(num_embeddings: usize, embedding_dim: usize) -> ChainLayer {
    ChainLayer::Embedding {
        num_embeddings,
        embedding_dim,
        padding_idx: Some(1),
    }
}

fn recurrent(cell: CellKind, i: usize, h: usize, bidirectional: bool) -> ChainLayer {
    let mut config = RecurrentConfig::new(cell, i, h);
    config.stack.bidirectional = bidirectional;
    config.stack.num_layers = 2;
    config.stack.dropout = 0.3;
    ChainLayer::Recurrent(config)
}

/// Every kind of layer, before and after the step that is chosen.
fn grid() -> Vec<ChainConfig> {
    let mut grid = Vec::new();
    for last in [
        None,
        Some(ChainLayer::LastOutput),
        Some(ChainLayer::LastState),
    ] {
        let functions = Activation::ALL.map(ChainLayer::Activation);
        let of_rows = [ChainLayer::Softmax, ChainLayer::LogSoftmax];
        for function in functions.into_iter().chain(of_rows) {
            for first in [embedding(4, 3), linear(2, 3)] {
                let mut layers = vec![
                    ("a", first),
                    ("", ChainLayer::Dropout(0.4)),
                    ("b", norm(3)),
                    ("", function.clone()),
                    ("c", recurrent(CellKind::Lstm, 3, 3, true)),
                ];
                layers.extend(last.clone().map(|last| ("", last)));
                layers.extend([
                    ("", ChainLayer::Dropout(0.4)),
                    ("d", linear(6, 3)),
                    ("", function.clone()),
                    ("e", norm(3)),
                ]);
                grid.push(named(layers));
            }
        }
    }
    grid.push(named(vec![
        ("a", recurrent(CellKind::Gru, 2, 3, false)),
        ("b", recurrent(CellKind::Rnn, 3, 2, true)),
    ]));
    grid
}

struct Problem {
    chain: Chain,
    params: Params<f64>,
    indices: Option<Array2<i64>>,
    input: Array3<f64>,
    state: State<f64>,
    d_y: Array3<f64>,
    d_state: State<f64>,
}

const LENGTHS: [usize; 3] = [2, 4, 0];

impl Problem {
    fn new(config: &ChainConfig) -> Self {
        let chain = Chain::new(config).unwrap();
        let mut params: Params<f64> = chain.init(1);
        let n = params.values().len();
        params.values_mut().copy_from_slice(&numbers(2, n));
        let (t, b) = (4, 3);
        let indices = chain
            .reads_indices()
            .then(|| Array2::from_shape_fn((t, b), |(t, b)| [0, 1, 3, 2][(t + 2 * b) % 4]));
        let filled = |seed: u64| {
            let mut state = chain.start(b);
            for slot in 0..state.slots() {
                let values = state.slot_mut(slot);
                let n = values.len();
                values.copy_from_slice(&numbers(seed + slot as u64, n));
            }
            state
        };
        let features = if indices.is_some() { 0 } else { 2 };
        let input = Array3::from_shape_vec((t, b, features), numbers(3, t * b * features)).unwrap();
        let mut problem = Self {
            params,
            indices,
            input,
            state: filled(10),
            d_y: Array3::zeros((0, 0, 0)),
            d_state: filled(20),
            chain,
        };
        let dim = problem.chain.output_dim(&problem.inputs()).unwrap();
        problem.d_y = Array3::from_shape_vec(dim, numbers(4, dim.0 * dim.1 * dim.2)).unwrap();
        problem
    }

    fn inputs(&self) -> Inputs<'_, f64> {
        match &self.indices {
            Some(indices) => Inputs::indices(indices.view()),
            None => Inputs::sequences(self.input.view()),
        }
    }

    fn forward(&self, cache: &mut ChainCache<f64>) -> (Array3<f64>, State<f64>) {
        let mut y = Array3::from_elem(self.d_y.dim(), f64::NAN);
        let mut state = self.state.clone();
        let pass = Pass {
            lengths: Some(&LENGTHS),
            dropout: Some(Key::new(5, Purpose::Dropout).step(7)),
            ..Pass::default()
        };
        let view = y.view_mut();
        self.chain
            .forward(&self.params, &self.inputs(), &pass, &mut state, cache, view)
            .unwrap();
        (y, state)
    }

    fn loss(&self, cache: &mut ChainCache<f64>) -> f64 {
        let (y, state) = self.forward(cache);
        let of_state: f64 = (0..state.slots())
            .map(|s| dot(state.slot(s), self.d_state.slot(s)))
            .sum();
        (&y * &self.d_y).sum() + of_state
    }

    fn backward(&self, cache: &mut ChainCache<f64>) -> (Params<f64>, Array3<f64>, State<f64>) {
        let mut grads = Params::zeros(self.params.layout().clone());
        let mut dx = Array3::zeros(self.input.dim());
        let mut d_state = self.d_state.clone();
        let view = self.indices.is_none().then(|| dx.view_mut());
        self.chain
            .backward(
                &self.params,
                &self.inputs(),
                cache,
                self.d_y.view(),
                &mut d_state,
                &mut grads,
                view,
            )
            .unwrap();
        (grads, dx, d_state)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn finite_differences() {
    let mut kinks = 0;
    for config in grid() {
        let mut problem = Problem::new(&config);
        let mut cache = ChainCache::default();
        problem.loss(&mut cache);
        let (grads, dx, d_state) = problem.backward(&mut cache);
        let mut compare = |what: &str,
                           values: Vec<f64>,
                           gradient: &[f64],
                           set: &mut dyn FnMut(&mut Problem, &[f64])| {
            let mut values = values;
            let mut cache = ChainCache::default();
            let found = gradcheck(
                &mut values,
                |values| {
                    set(&mut problem, values);
                    problem.loss(&mut cache)
                },
                gradient,
            );
            assert!(found.error <= 1e-6, "{what} {config:?}: {:e}", found.error);
            kinks += found.kinks;
            let values = values.clone();
            set(&mut problem, &values);
        };
        // The vector of the padding index is no parameter.
        let values = problem_params(&config);
        let mut gradient = grads.values().to_vec();
        if let Some(padding) = padding(&config) {
            assert!(gradient[padding.clone()].iter().all(|d| *d == 0.0));
            let mut probe = Problem::new(&config);
            let mut cache = ChainCache::default();
            for i in padding {
                let w = probe.params.values()[i];
                let mut at = |w: f64| {
                    probe.params.values_mut()[i] = w;
                    probe.loss(&mut cache)
                };
                gradient[i] = (at(w + 1e-5) - at(w - 1e-5)) / 2e-5;
                at(w);
            }
        }
        compare("parameters", values, &gradient, &mut |p, v| {
            p.params.values_mut().copy_from_slice(v);
        });
        let input = Problem::new(&config).input;
        if !input.is_empty() {
            let (values, d) = (
                input.iter().copied().collect(),
                dx.iter().copied().collect::<Vec<_>>(),
            );
            compare("input", values, &d, &mut |p, v| {
                p.input.iter_mut().zip(v).for_each(|(x, v)| *x = *v);
            });
        }
        for slot in 0..d_state.slots() {
            let values = Problem::new(&config).state.slot(slot).to_vec();
            compare("state", values, d_state.slot(slot), &mut |p, v| {
                p.state.slot_mut(slot).copy_from_slice(v);
            });
        }
    }
    assert!(kinks < 10, "{kinks}");
}

fn problem_params(config: &ChainConfig) -> Vec<f64> {
    Problem::new(config).params.values().to_vec()
}

/// The place of the vector of the padding index.
fn padding(config: &ChainConfig) -> Option<std::ops::Range<usize>> {
    match &config.layers[0].layer {
        ChainLayer::Embedding {
            embedding_dim: d, ..
        } => Some(*d..2 * *d),
        _ => None,
    }
}

#[test]
fn padding_is_never_read() {
    for config in grid() {
        let problem = Problem::new(&config);
        let mut spoilt = Problem::new(&config);
        for (b, length) in LENGTHS.iter().enumerate() {
            for t in *length..4 {
                if let Some(indices) = &mut spoilt.indices {
                    indices[[t, b]] = -7;
                } else {
                    spoilt
                        .input
                        .index_axis_mut(Axis(0), t)
                        .row_mut(b)
                        .fill(f64::NAN);
                }
                if spoilt.d_y.dim().0 == 4 {
                    spoilt
                        .d_y
                        .index_axis_mut(Axis(0), t)
                        .row_mut(b)
                        .fill(f64::NAN);
                }
            }
        }
        let (mut cache, mut other) = (ChainCache::default(), ChainCache::default());
        let (y, state) = problem.forward(&mut cache);
        assert_eq!((y.clone(), state), spoilt.forward(&mut other), "{config:?}");
        let (grads, dx, d_state) = problem.backward(&mut cache);
        let (grads_2, dx_2, d_state_2) = spoilt.backward(&mut other);
        assert_eq!(grads.values(), grads_2.values());
        assert_eq!((dx, d_state), (dx_2, d_state_2));
        if y.dim().0 == 4 {
            assert!(y.index_axis(Axis(1), 2).iter().all(|y| *y == 0.0));
        }
    }
}

/// A file of zeros of these shapes.
fn zeros(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let zeros = vec![0; 1 << 16];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &zeros[..8 * shape.iter().product::<usize>()];
        // What counts is whole.
        let dtype = match name.ends_with("num_batches_tracked") {
            true => Dtype::I64,
            false => Dtype::F64,
        };
        let view = TensorView::new(dtype, shape.to_vec(), bytes);
        (*name, view.unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

const NET: &str = r#"
[[layer]]
type = "embedding"
prefix = "encoder"
[[layer]]
type = "lstm"
prefix = "rnn"
[[layer]]
type = "linear"
prefix = "decoder"
"#;

#[test]
fn a_declaration_that_is_wrong_is_named_by_its_line() {
    for (text, words) in [
        ("", "no layer is declared; expected [[layer]]"),
        ("[[layer]]\ntype = 3", "line 2: invalid type"),
        ("[[layer]]\nprefix = \"a\"", "line 1: missing field `type`"),
        (
            "\n[[layer]]\ntype = \"linaer\"",
            "line 3: unknown type `linaer`; known are embedding, rnn, gru, lstm, linear, layer_norm, sigmoid, tanh, relu, leaky_relu, elu, hard_sigmoid, hard_tanh, softsign, softplus, identity, softmax, log_softmax, dropout, last_output, last_state",
        ),
        (
            "[[layer]]\ntype = \"linear\"\nsize = 3",
            "line 3: unknown field `size`, expected one of `type`, `prefix`",
        ),
        (
            "[[layers]]\ntype = \"linear\"",
            "line 1: unknown field `layers`, expected `layer`",
        ),
        (
            "[[layer]]\ntype = \"gru\"\nnonlinearity = \"relu\"",
            "line 3: nonlinearity: the layer gru has no such key; its keys are type, prefix",
        ),
        (
            "[[layer]]\ntype = \"rnn\"\nnonlinearity = \"elu\"",
            "line 3: unknown nonlinearity `elu`; select from tanh or relu",
        ),
        (
            "[[layer]]\ntype = \"relu\"\nprefix = \"a\"",
            "line 3: prefix: the layer relu has no such key; it has none but type",
        ),
        (
            "[[layer]]\ntype = \"linear\"\np = 0.1",
            "line 3: p: the layer linear",
        ),
        (
            "[[layer]]\ntype = \"embedding\"\npadding_idx = -1",
            "line 3: ",
        ),
        ("[[layer]]\ntype = \"linear", "line 2: "),
        ("[[layer]\n", "line 1: "),
    ] {
        let e = Declaration::parse(text).unwrap_err();
        let message = e.to_string();
        assert!(
            e.is_file() && message.contains(words),
            "{text:?}: {message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn a_file_that_is_not_as_declared_is_named_with_the_mend() {
    type Shapes<'a> = Vec<(&'a str, &'a [usize])>;
    let good: Shapes<'_> = vec![
        ("encoder.weight", &[7, 3]),
        ("rnn.weight_ih_l0", &[16, 3]),
        ("rnn.weight_hh_l0", &[16, 4]),
        ("rnn.bias_ih_l0", &[16]),
        ("rnn.bias_hh_l0", &[16]),
        ("decoder.weight", &[7, 4]),
        ("decoder.bias", &[7]),
    ];
    let with = |name: &'static str, shape: &'static [usize]| {
        let mut tensors = good.clone();
        tensors.retain(|(n, _)| *n != name);
        tensors.push((name, shape));
        tensors
    };
    let without = |name: &str| {
        let mut tensors = good.clone();
        tensors.retain(|(n, _)| *n != name);
        tensors
    };
    let renamed = |from: &'static str, to: &'static str| {
        let names: Vec<String> = good.iter().map(|(n, _)| n.replacen(from, to, 1)).collect();
        let shapes = good.iter().map(|(_, s)| *s);
        zeros(&names.iter().map(|n| &**n).zip(shapes).collect::<Vec<_>>())
    };
    let one_line = r#"layer = [{ type = "embedding", prefix = "encoder" }, { type = "lstm", prefix = "rnn" }, { type = "linear", prefix = "decoder" }]"#;
    let x = vec![0; 8];
    let indices = TensorView::new(Dtype::I64, vec![1, 1], &x).unwrap();
    let indices = safetensors::serialize([("input", indices)], None).unwrap();
    let floats = zeros(&[("input", &[1, 1, 3])]);
    let net = |text: &str| Some(Declaration::parse(text).unwrap());
    let gru = NET.replace("lstm", "gru");
    let check = |model: &[u8], input: &[u8], network, words: &str| {
        let options = RunOptions {
            network,
            ..RunOptions::default()
        };
        let e = run(model, input, &options).unwrap_err().to_string();
        assert!(e.contains(words), "{words}: {e}");
    };
    run(
        &zeros(&good),
        &indices,
        &RunOptions {
            network: net(NET),
            ..RunOptions::default()
        },
    )
    .unwrap();
    let both = [NET, one_line].map(|text| {
        let bytes = zeros(&good);
        let file = TensorFile::read(&bytes).unwrap();
        Declaration::parse(text).unwrap().infer(&file).unwrap()
    });
    assert_eq!(both[0], both[1]);
    for (model, words) in [
        (
            with("fc.weight", &[2, 2]),
            "fc.weight: no declared layer has it; declare a layer with prefix `fc`, like layer = [{ type = \"linear\", prefix = \"fc\" }]",
        ),
        (with("bn.num_batches_tracked", &[]), "batch normalisation"),
        (
            with("rnn.weight_hr_l1", &[2, 2]),
            "rnn.weight_ih_l1: the tensor is missing, but rnn.weight_hr_l1 is there",
        ),
        (
            with("rnn.weight_xh_l0", &[2, 2]),
            "the layer `rnn` that is declared has no such parameter",
        ),
        (
            without("rnn.bias_ih_l0"),
            "rnn.bias_ih_l0: the tensor is missing",
        ),
        (
            without("encoder.weight"),
            "encoder.weight: the tensor is missing, which line 2",
        ),
        (
            with("decoder.bias", &[6]),
            "decoder.bias: expected shape [7], got [6]",
        ),
        (
            with("encoder.weight", &[7]),
            "(num_embeddings, embedding_dim)",
        ),
        (
            with("decoder.weight", &[4, 7]),
            "is it transposed? Keras stores (in, out)",
        ),
        (with("rnn.weight_hh_l0", &[4, 16]), "is it transposed?"),
        (with("rnn.weight_ih_l0", &[3, 16]), "is it transposed?"),
        (
            with("decoder.weight", &[7, 5]),
            "layer 3, linear `decoder`: it reads 5 features, the layer before it gives 4",
        ),
        (
            with("rnn.bias_ih_l0", &[12]),
            "expected shape [16], got [12]",
        ),
    ] {
        check(&zeros(&model), &indices, net(NET), words);
    }
    check(
        &zeros(&good),
        &indices,
        net(&gru),
        "the shape suggests an LSTM",
    );
    check(&zeros(&good), &indices, None, one_line);
    check(
        &zeros(&good),
        &floats,
        net(NET),
        "expected the indices of an embedding",
    );
    check(
        &zeros(&good),
        &zeros(&[("input", &[1, 1])]),
        net(NET),
        "int64 indices",
    );
    check(
        &renamed("rnn", "model.rnn"),
        &indices,
        net(NET),
        "did you mean prefix = \"model.rnn\"?",
    );
    check(
        &renamed("encoder", "module.encoder"),
        &indices,
        net(NET),
        "did you mean prefix = \"module.encoder\"?",
    );
    check(
        &renamed("decoder", "decodre"),
        &indices,
        net(NET),
        "did you mean prefix = \"decodre\"?",
    );
    check(
        &renamed("decoder", "q"),
        &indices,
        net(NET),
        "the prefixes in the file are encoder, q, rnn",
    );
    let mut two = good.clone();
    two.extend([
        ("up.weight_ih_l0", &[9, 4][..]),
        ("up.weight_hh_l0", &[9, 3]),
    ]);
    check(
        &zeros(&two),
        &indices,
        None,
        "there are 2 recurrent layers, `rnn`, `up`; to run them, declare all layers in order with --network",
    );
}

#[test]
fn layers_that_do_not_fit_are_named() {
    let gru = || recurrent(CellKind::Gru, 3, 4, false);
    for (layers, words) in [
        (vec![], "at least one layer"),
        (
            vec![("", ChainLayer::Dropout(0.1))],
            "first layer has to tell",
        ),
        (
            vec![("a", gru()), ("b", linear(5, 1))],
            "layer 2, linear `b`: it reads 5 features, the layer before it gives 4",
        ),
        (
            vec![("a", linear(2, 3)), ("b", embedding(3, 3))],
            "an embedding reads indices",
        ),
        (
            vec![
                ("a", gru()),
                ("", ChainLayer::Dropout(0.1)),
                ("", ChainLayer::LastState),
            ],
            "directly after one",
        ),
        (
            vec![("a", gru()), ("", ChainLayer::LastOutput), ("b", gru())],
            "one step is left",
        ),
        (
            vec![("a", linear(2, 2)), ("a", linear(2, 2))],
            "two layers have a parameter a.",
        ),
        (
            vec![("a", linear(2, 2)), ("", ChainLayer::Dropout(1.5))],
            "from 0 to 1",
        ),
        (vec![("a", norm(0))], "more than zero"),
        (vec![("a", embedding(1, 2))], "padding_idx"),
    ] {
        let e = Chain::new(&named(layers)).unwrap_err();
        assert!(e.to_string().contains(words), "{e}");
    }
}

/// A language model learns to count: training reads indices.
#[test]
fn a_chain_trains_on_indices() {
    struct Counting;
    impl Examples<f32> for Counting {
        fn len(&self) -> usize {
            40
        }

        fn gather(&self, numbers: &[usize], batch: &mut Batch<f32>) {
            let (steps, rows) = (5, numbers.len());
            let index = |t: usize, b: usize| (t + numbers[b]) % 4;
            batch.indices = Some(Array2::from_shape_fn((steps, rows), |(t, b)| {
                index(t, b) as i64
            }));
            batch.target = Array3::from_shape_fn((steps, rows, 4), |(t, b, o)| {
                f32::from(u8::from(o == index(t + 1, b)))
            });
        }
    }
    let config = named(vec![
        ("encoder", embedding(4, 3)),
        (
            "rnn",
            ChainLayer::Recurrent(RecurrentConfig::new(CellKind::Gru, 3, 6)),
        ),
        ("decoder", linear(6, 4)),
    ]);
    let chain = Chain::new(&config).unwrap();
    for truncate in [None, Some(2)] {
        let config = TrainConfig {
            epochs: 60,
            batch_size: 20,
            learning_rate: 0.02,
            truncate,
            ..TrainConfig::default()
        };
        let mean = |params: &Params<f32>| {
            evaluate(&chain, params, &Counting, &config.loss, Threads(1)).unwrap()
        };
        let trained = [1, 2].map(|threads| {
            let watch = &mut |_: &Progress| Control::Continue;
            fit(
                &chain,
                chain.init(1),
                &Counting,
                None,
                &config,
                Threads(threads),
                watch,
            )
            .unwrap()
        });
        let [one, two] = trained.map(|trained| trained.params);
        let (before, after) = (mean(&chain.init(1)), mean(&one));
        assert!(after < before / 4.0, "{truncate:?}: {before} to {after}");
        assert_eq!(one.values(), two.values());
    }
}

#[test]
fn a_chain_is_cut_in_time_where_it_can_be() {
    let rnn = |both| ("rnn", recurrent(CellKind::Gru, 3, 4, both));
    for (layers, words) in [
        (vec![rnn(false)], None),
        (vec![rnn(true)], Some("reverse direction")),
        (
            vec![rnn(false), ("", ChainLayer::LastOutput)],
            Some("the whole sequence"),
        ),
    ] {
        let can = Network::<f32>::carries_state(&Chain::new(&named(layers)).unwrap());
        match words {
            None => can.unwrap(),
            Some(words) => assert!(can.unwrap_err().to_string().contains(words)),
        }
    }
}

#[test]
fn indices_out_of_range_are_named() {
    let config = named(vec![("a", embedding(4, 3)), ("b", linear(3, 1))]);
    for index in [4, -1, i64::MAX, i64::MIN] {
        let mut problem = Problem::new(&config);
        problem.indices.as_mut().unwrap()[[2, 1]] = index;
        let mut y = Array3::zeros(problem.d_y.dim());
        let (mut state, mut cache) = (problem.state.clone(), ChainCache::default());
        let (pass, view) = (Pass::default(), y.view_mut());
        let e = problem
            .chain
            .forward(
                &problem.params,
                &problem.inputs(),
                &pass,
                &mut state,
                &mut cache,
                view,
            )
            .unwrap_err();
        let expected = format!(
            "input: step 2 of row 1: the index {index} is out of range; expected 0 to 3, of 4 embeddings"
        );
        assert_eq!(e.to_string(), expected);
    }
}
