//! Arrays in, arrays out: the fixtures through files.

use crate::common::{Case, Fixtures, error};
use elman::Float;
use elman::cell::{CellKind, Nonlinearity};
use elman::layer::RecurrentConfig;
use elman::ndarray::{ArrayD, ArrayView, Axis, IxDyn, Slice, array};
use elman::network::{
    EncoderDecoderConfig, Network, NetworkConfig, OneToManyConfig, Readout, SequenceConfig,
};
use elman::params::{Layout, Params};
use elman::rng::TorchRng;
use elman::run::{Declaration, Ran, RunOptions};
use elman::weights::{METADATA_KEY, Model, TensorFile, write_tensors};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn run(model: &[u8], input: &[u8], options: &RunOptions) -> elman::Result<Vec<u8>> {
    elman::run::run(model, input, options).map(|Ran { bytes, notes }| {
        assert!(notes.is_empty(), "{notes:?}");
        bytes
    })
}

/// The case's tensors that `keep` names anew, as they are, as a file.
fn file(case: &Case<'_>, keep: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let names = case.names("");
    let tensors = names.iter().filter_map(|n| Some((keep(n)?, case.view(n))));
    safetensors::serialize(tensors, None).unwrap()
}

const GIVEN: [&str; 7] = [
    "input", "h_0", "c_0", "lengths", "d_output", "d_h_n", "d_c_n",
];

#[test]
fn fixtures_through_files() {
    let (mut seen, mut ragged) = (0, 0);
    for name in ["rnn.safetensors", "gru.safetensors", "lstm.safetensors"] {
        for case in Fixtures::open(name).cases() {
            ragged += usize::from(case.lengths().is_some());
            if case.options["dtype"] == "f64" {
                check::<f64>(&case, 1e-12);
            } else {
                check::<f32>(&case, 1e-5);
            }
            seen += 1;
        }
    }
    assert!(seen > 100 && ragged > 40, "{seen}, {ragged}");
}

fn check<F: Float>(case: &Case<'_>, bar: f64) {
    let model = file(case, |n| n.strip_prefix("param.").map(str::to_owned));
    let input = file(case, |n| GIVEN.contains(&n).then(|| n.to_owned()));
    let options = RunOptions {
        cell: case.options["cell"].as_str().map(|c| c.parse().unwrap()),
        nonlinearity: (case.options["nonlinearity"] == "relu").then_some(Nonlinearity::Relu),
        batch_first: case.options["batch_first"].as_bool().unwrap(),
        trace: true,
        network: None,
    };
    let out = run(&model, &input, &options).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let out = TensorFile::read(&out).unwrap();
    for name in case.names("") {
        let got = match name.as_str() {
            n if GIVEN.contains(&n) || n.starts_with("param.") => continue,
            n => n.replacen("d_param.", "d_", 1),
        };
        let got = out
            .get::<F>(&got)
            .unwrap()
            .unwrap_or_else(|| panic!("{}: no {got}", case.name));
        let e = error(got.view(), case.need(&name).view());
        assert!(e <= bar, "{} {name}: {e:e}", case.name);
    }
    let gates: &[&str] = match case.options["cell"].as_str().unwrap() {
        "rnn" => &["h"],
        "gru" => &["h", "n", "r", "z", "hn"],
        _ => &["h", "c", "i", "f", "g", "o"],
    };
    let traces = out
        .names()
        .iter()
        .filter(|n| n.starts_with("trace.l0."))
        .count();
    assert_eq!(traces, gates.len());
    // The last layer's states are the output.
    if case.options["bidirectional"] == false {
        let last = case.options["num_layers"].as_u64().unwrap() - 1;
        let h = out.get::<F>(&format!("trace.l{last}.h")).unwrap().unwrap();
        assert_eq!(h, out.get::<F>("output").unwrap().unwrap());
    }
}

#[test]
fn a_model_file_needs_no_flag() {
    let config = NetworkConfig::Sequence(SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 2, 3),
        readout: Readout::LastState,
        outputs: 4,
        head_dropout: 0.0,
        skip: None,
    });
    let params = vec![config.build().unwrap().init(1)];
    let model = Model::<f64>::new(config, params, serde_json::Value::Null).unwrap();
    let x = array![[[0.1, 0.2]], [[0.3, 0.4]]].into_dyn();
    let dy = array![[[1.0, 0.0, 0.0, 0.0]]].into_dyn();
    let input = [
        ("input".to_owned(), x.view()),
        ("d_output".to_owned(), dy.view()),
    ];
    let input = write_tensors(input, None).unwrap();
    let out = run(&model.to_bytes().unwrap(), &input, &RunOptions::default()).unwrap();
    let out = TensorFile::read(&out).unwrap();
    assert_eq!(out.shape("output"), Some(&[1, 1, 4][..]));
    assert_eq!(out.shape("d_rnn.weight_ih_l0"), Some(&[9, 2][..]));
    assert_eq!(out.shape("d_input"), Some(&[2, 1, 2][..]));
}

/// Several networks in a model file give the mean of their outputs, and nothing
/// else.
#[test]
fn the_networks_of_a_model_file_are_averaged() {
    let config = NetworkConfig::Sequence(SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 2, 3),
        readout: Readout::LastState,
        outputs: 4,
        head_dropout: 0.0,
        skip: None,
    });
    let network = config.build().unwrap();
    let members: Vec<_> = (0..3).map(|seed| network.init(seed)).collect();
    let file = |members: &[_]| {
        let model = Model::<f64>::new(config.clone(), members.to_vec(), serde_json::Value::Null);
        model.unwrap().to_bytes().unwrap()
    };
    let x = ArrayD::from_shape_fn(&[5, 2, 2][..], |at| {
        (at[0] * 3 + at[1] + at[2]) as f64 / 7.0
    });
    let ask = |more: Option<&str>| {
        let zeros = ArrayD::zeros(&[1, 2, 3][..]);
        let more = more.map(|name| (name.to_owned(), zeros.view()));
        let tensors = [("input".to_owned(), x.view())].into_iter().chain(more);
        write_tensors(tensors, None).unwrap()
    };
    let output = |model: &[u8]| {
        let out = run(model, &ask(None), &RunOptions::default()).unwrap();
        let out = TensorFile::read(&out).unwrap();
        let names = out.names().len();
        (out.get::<f64>("output").unwrap().unwrap(), names)
    };
    let mut mean = ArrayD::zeros(&[1, 2, 4][..]);
    for member in &members {
        mean += &(output(&file(std::slice::from_ref(member))).0 / 3.0);
    }
    let together = file(&members);
    assert_eq!(output(&together), (mean, 1));

    for name in ["h_0", "d_h_n", "d_output", "h_0.0"] {
        let e = run(&together, &ask(Some(name)), &RunOptions::default()).unwrap_err();
        let words = format!("input: {name}: the model file holds 3 networks");
        assert!(e.to_string().contains(&words), "{e}");
    }
    let trace = RunOptions {
        trace: true,
        ..RunOptions::default()
    };
    let e = run(&together, &ask(None), &trace).unwrap_err();
    assert!(e.to_string().contains("--trace: the model file"), "{e}");
}

/// A layer that runs in reverse only has its names' ends to tell it by; it is
/// the forward layer over the steps from the last to the first.
#[test]
fn layers_in_reverse() {
    let mut config = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    config.stack.num_layers = 2;
    let mut layout = Layout::new();
    let stack = config.stack(&mut layout, "").unwrap();
    let mut params = Params::<f64>::zeros(layout.into());
    let mut rng = TorchRng::new(5);
    stack.init(&mut params, &mut |a, b| rng.uniform(a, b));
    let model = |end: &str| {
        let tensors = params.layout().entries().iter().map(|entry| {
            let values = params.get(&entry.name).unwrap();
            (format!("net.{}{end}", entry.name), values)
        });
        write_tensors(tensors, None).unwrap()
    };
    let x = ArrayD::from_shape_fn(&[5, 2, 2][..], |at| {
        ((at[0] * 3 + at[1] + at[2] * 5) as f64).sin()
    });
    let flipped = |a: ArrayD<f64>| {
        let mut a = a;
        a.invert_axis(Axis(0));
        a
    };
    let one = ArrayD::ones(&[5, 2, 3][..]);
    let out = |model: &[u8], x: ArrayD<f64>, options: &RunOptions| {
        let tensors = [
            ("input".to_owned(), x.view()),
            ("d_output".to_owned(), one.view()),
        ];
        let input = write_tensors(tensors, None).unwrap();
        run(model, &input, options).unwrap()
    };
    let trace = RunOptions {
        trace: true,
        ..RunOptions::default()
    };
    let forward = out(&model(""), flipped(x.clone()), &trace);
    let forward = TensorFile::read(&forward).unwrap();
    let backward = out(&model("_reverse"), x.clone(), &trace);
    let backward = TensorFile::read(&backward).unwrap();
    assert_eq!(forward.names().len(), backward.names().len());
    for name in forward.names() {
        let expected = forward.get::<f64>(name).unwrap().unwrap();
        let (expected, name) = if name.starts_with("trace.") {
            let (layer, gate) = name.rsplit_once('.').unwrap();
            (flipped(expected), format!("{layer}_reverse.{gate}"))
        } else if ["output", "d_input"].contains(&name) {
            (flipped(expected), name.to_owned())
        } else if name.starts_with("d_net.") {
            (expected, format!("{name}_reverse"))
        } else {
            (expected, name.to_owned())
        };
        let got = backward.get::<f64>(&name).unwrap();
        let got = got.unwrap_or_else(|| panic!("no {name}"));
        assert!(error(got.view(), expected.view()) < 1e-15, "{name}");
    }
    let declared = RunOptions {
        network: Some(
            Declaration::parse("layer = [{ type = \"lstm\", prefix = \"net\" }]").unwrap(),
        ),
        ..trace
    };
    let chained = out(&model("_reverse"), x, &declared);
    let chained = TensorFile::read(&chained).unwrap();
    for name in backward.names() {
        assert_eq!(chained.get::<f64>(name), backward.get::<f64>(name));
    }
}

/// A layer and a direction are there where any of their parameters is; what
/// they lack is named.
#[test]
fn missing_parameters_are_named() {
    let mut config = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    config.proj_size = 2;
    config.stack.num_layers = 3;
    config.stack.bidirectional = true;
    let mut layout = Layout::new();
    config.stack(&mut layout, "").unwrap();
    let zeros: Vec<_> = layout
        .entries()
        .iter()
        .map(|e| {
            (
                format!("a.b.{}", e.name),
                ArrayD::<f64>::zeros(&e.shape[..]),
            )
        })
        .collect();
    let x = ArrayD::<f64>::zeros(&[4, 1, 2][..]);
    let input = write_tensors([("input".to_owned(), x.view())], None).unwrap();
    let without = |lost: &dyn Fn(&str) -> bool| {
        let kept = zeros.iter().filter(|(name, _)| !lost(name));
        let model = write_tensors(kept.map(|(n, a)| (n.clone(), a.view())), None).unwrap();
        run(&model, &input, &RunOptions::default())
    };
    assert!(without(&|_| false).is_ok());
    for (name, _) in &zeros {
        let e = without(&|n| n == name).unwrap_err().to_string();
        let words = format!("model: {name}: the tensor is missing");
        assert!(e.starts_with(&words), "{e}");
    }
    let first_only = |name: &str| name.contains("_l1_") && !name.ends_with("ih_l1_reverse");
    let e = without(&first_only).unwrap_err().to_string();
    assert!(
        e.contains("a.b.weight_hh_l1_reverse: the tensor is missing, but a.b.weight_ih_l1_reverse"),
        "{e}"
    );
    let all_of_one = |name: &str| name.ends_with("_l1_reverse");
    let e = without(&all_of_one).unwrap_err().to_string();
    assert!(
        e.contains("a.b.weight_ih_l1_reverse: the tensor is missing, but"),
        "{e}"
    );
    let forward = |name: &str| name.ends_with("_l2");
    let e = without(&forward).unwrap_err().to_string();
    assert!(
        e.contains("a.b.weight_ih_l2: the tensor is missing, but a.b.weight_ih_l2_reverse is"),
        "{e}"
    );
    // A layer that is all there but the one below it is not.
    let gap = |name: &str| name.contains("_l1");
    let e = without(&gap).unwrap_err().to_string();
    assert!(e.contains("_l2"), "{e}");
}

/// Of many layers the message has the first ones, and of those that lack their
/// matrices none.
#[test]
fn many_layers_are_not_all_listed() {
    let w = ArrayD::<f64>::zeros(&[3, 3][..]);
    let input = write_tensors([("input".to_owned(), w.view())], None).unwrap();
    for (parts, end) in [
        (&["weight_ih", "weight_hh"][..], ", ..]"),
        (&["weight_hh"], "with --network"),
    ] {
        let names = (0..50).flat_map(|i| parts.iter().map(move |p| format!("{i}.{p}_l0")));
        let model = write_tensors(names.map(|name| (name, w.view())), None).unwrap();
        let e = run(&model, &input, &RunOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("there are 50 recurrent layers, `0`, `1`, "),
            "{e}"
        );
        assert!(e.ends_with(end) && e.len() < 1000, "{e}");
    }
}

/// Where states or lengths tell that the axes are in the other order, the
/// message says so.
#[test]
fn the_other_order_of_axes_is_suggested() {
    let w = |shape: &[usize]| ArrayD::<f64>::zeros(shape);
    let model = [("weight_ih_l0", w(&[3, 2])), ("weight_hh_l0", w(&[3, 3]))];
    let bytes = |tensors: &[(&str, ArrayD<f64>)], lengths: Option<usize>| {
        let raw: Vec<_> = tensors
            .iter()
            .map(|(name, a)| {
                let bytes: Vec<u8> = a.iter().flat_map(|x| x.to_le_bytes()).collect();
                (*name, Dtype::F64, a.shape().to_vec(), bytes)
            })
            .chain(lengths.map(|n| {
                let ones = [1_i64; 9].iter().flat_map(|n| n.to_le_bytes());
                ("lengths", Dtype::I64, vec![n], ones.take(8 * n).collect())
            }))
            .collect();
        let views = raw.iter().map(|(name, dtype, shape, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
        safetensors::serialize(views, None).unwrap()
    };
    let model = bytes(&model, None);
    let (with, without) = (
        "; it fits with --batch-first",
        "; it fits without --batch-first",
    );
    for (x, more, lengths, batch_first, words) in [
        ([4, 7, 2], Some(("h_0", [1, 4, 3])), None, false, with),
        ([4, 7, 2], Some(("d_h_n", [1, 4, 3])), None, false, with),
        ([4, 7, 2], None, Some(4), false, with),
        ([7, 4, 2], Some(("h_0", [1, 4, 3])), Some(4), true, without),
        // Neither order fits.
        ([4, 7, 2], Some(("h_0", [1, 5, 3])), None, false, ""),
        ([4, 7, 2], Some(("h_0", [1, 4, 3])), Some(7), false, ""),
        ([4, 7, 3], None, Some(4), false, ""),
        ([4, 4, 2], Some(("h_0", [1, 4, 4])), None, false, ""),
    ] {
        let more = more.map(|(name, shape)| (name, w(&shape)));
        let tensors: Vec<_> = [("input", w(&x))].into_iter().chain(more).collect();
        let options = RunOptions {
            batch_first,
            ..RunOptions::default()
        };
        let e = run(&model, &bytes(&tensors, lengths), &options)
            .unwrap_err()
            .to_string();
        let said = e.contains("it fits");
        assert_eq!(said, !words.is_empty(), "{e}");
        assert!(e.ends_with(words), "{e}");
    }
}

/// One bias where PyTorch has two is said.
#[test]
fn a_single_bias_is_a_note() {
    let w = |shape: &[usize]| ArrayD::<f64>::zeros(shape);
    let (ih, hh, bias, x) = (w(&[3, 2]), w(&[3, 3]), w(&[3]), w(&[4, 1, 2]));
    let model = [
        ("rnn.weight_ih_l0".to_owned(), ih.view()),
        ("rnn.weight_hh_l0".to_owned(), hh.view()),
        ("rnn.bias_ih_l0".to_owned(), bias.view()),
    ];
    let model = write_tensors(model, None).unwrap();
    let d_h_n = w(&[1, 1, 3]);
    let input = [
        ("input".to_owned(), x.view()),
        ("d_h_n".to_owned(), d_h_n.view()),
    ];
    let input = write_tensors(input, None).unwrap();
    let declared = Declaration::parse("layer = [{ type = \"rnn\", prefix = \"rnn\" }]").unwrap();
    for network in [None, Some(declared)] {
        let options = RunOptions {
            network,
            ..RunOptions::default()
        };
        let ran = elman::run::run(&model, &input, &options).unwrap();
        assert_eq!(ran.notes.len(), 1, "{:?}", ran.notes);
        assert!(ran.notes[0].contains("read as a layer with one bias"));
        let out = TensorFile::read(&ran.bytes).unwrap();
        assert_eq!(out.shape("d_rnn.bias_ih_l0"), Some(&[3][..]));
    }
}

/// Layers of several widths have their states one by one, by slot; what comes
/// out goes in again.
#[test]
fn states_of_several_widths() {
    let mut recurrent = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    recurrent.stack.num_layers = 2;
    recurrent.hidden_sizes = vec![3, 5];
    let config = NetworkConfig::Sequence(SequenceConfig {
        recurrent,
        readout: Readout::EveryStep,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    });
    let params = vec![config.build().unwrap().init(1)];
    let model = Model::<f64>::new(config, params, serde_json::Value::Null).unwrap();
    let model = model.to_bytes().unwrap();
    let x = ArrayD::from_shape_fn(&[4, 2, 2][..], |at| {
        (at[0] + 2 * at[1]) as f64 - at[2] as f64
    });
    let forward = |x: ArrayView<'_, f64, IxDyn>, states: &[(String, ArrayD<f64>)]| {
        let states = states.iter().map(|(name, a)| (name.clone(), a.view()));
        let input = std::iter::once(("input".to_owned(), x)).chain(states);
        let input = write_tensors(input, None).unwrap();
        run(&model, &input, &RunOptions::default())
    };
    let cut = |from: usize, to: usize| {
        let all = x.slice_axis(Axis(0), Slice::from(from..to));
        forward(all, &[]).unwrap()
    };
    let (whole, early) = (cut(0, 4), cut(0, 2));
    let (whole, early) = (
        TensorFile::read(&whole).unwrap(),
        TensorFile::read(&early).unwrap(),
    );
    assert_eq!(whole.shape("h_n"), None);
    assert_eq!(whole.shape("c_n.1"), Some(&[1, 2, 5][..]));
    let mut states: Vec<_> = ["h_n.0", "h_n.1", "c_n.0", "c_n.1"]
        .map(|name| {
            let value = early.get::<f64>(name).unwrap().unwrap();
            (name.replace("_n", "_0"), value)
        })
        .into();
    let rest = x.slice_axis(Axis(0), Slice::from(2..));
    let late = forward(rest.view(), &states).unwrap();
    let late = TensorFile::read(&late).unwrap();
    for name in ["h_n.0", "h_n.1", "c_n.0", "c_n.1"] {
        assert_eq!(late.get::<f64>(name), whole.get::<f64>(name));
    }
    states[1].1 = ArrayD::zeros(&[2, 2, 5][..]);
    let error = forward(rest.view(), &states).unwrap_err().to_string();
    assert!(
        error.contains("h_0.1: expected (1, batch, width)"),
        "{error}"
    );
    states[1].1 = ArrayD::zeros(&[1, 2, 3][..]);
    let error = forward(rest, &states).unwrap_err().to_string();
    assert!(error.contains("slot 1: expected (2, 5)"), "{error}");
    states.remove(1);
    let error = forward(x.view(), &states).unwrap_err().to_string();
    assert!(error.contains("or 2 from h_0.0 on, got 1"), "{error}");
    states.push(("h_0.7".to_owned(), ArrayD::zeros(&[1, 2, 5][..])));
    let error = forward(x.view(), &states).unwrap_err().to_string();
    assert!(error.contains("the tensor h_0.1 is missing"), "{error}");
    states.truncate(1);
    states[0].0 = "h_2.0".to_owned();
    let error = forward(x.view(), &states).unwrap_err().to_string();
    assert!(error.contains("nothing reads the tensor h_2.0"), "{error}");
}

#[test]
fn what_is_wrong_is_named() {
    let w = |shape: &[usize]| ArrayD::<f64>::zeros(shape);
    let gru = [
        ("weight_ih_l0", w(&[9, 2])),
        ("weight_hh_l0", w(&[9, 3])),
        ("bias_ih_l0", w(&[9])),
        ("bias_hh_l0", w(&[9])),
    ];
    let good: Vec<(&str, ArrayD<f64>)> = gru.to_vec();
    let x = vec![("input", w(&[4, 1, 2]))];
    let change = |name: &str, to: Option<ArrayD<f64>>| {
        let mut tensors = good.clone();
        tensors.retain(|(n, _)| *n != name);
        tensors.extend(to.map(|a| (Box::leak(name.to_owned().into_boxed_str()) as &str, a)));
        tensors
    };
    let lstm = RunOptions {
        cell: Some(CellKind::Lstm),
        ..RunOptions::default()
    };
    let relu = RunOptions {
        nonlinearity: Some(Nonlinearity::Relu),
        ..RunOptions::default()
    };
    let tanh = RunOptions {
        nonlinearity: Some(Nonlinearity::Tanh),
        ..RunOptions::default()
    };
    let plain = RunOptions::default();
    let with_x = |extra: &'static str, a: ArrayD<f64>| {
        let mut x = x.clone();
        x.push((extra, a));
        x
    };
    for (model, input, options, words) in [
        (
            change("bias_hh_l0", Some(w(&[8]))),
            x.clone(),
            plain.clone(),
            "bias_hh_l0",
        ),
        (
            change("weight_ih_l0", None),
            x.clone(),
            plain.clone(),
            "missing",
        ),
        (
            change("weight_ih_l0", Some(w(&[0, 1 << 60]))),
            x.clone(),
            plain.clone(),
            "expected 9 rows",
        ),
        (
            change("extra", Some(w(&[8]))),
            x.clone(),
            plain.clone(),
            "extra",
        ),
        (
            change("weight_hr_l0", Some(w(&[2, 3]))),
            x.clone(),
            plain.clone(),
            "proj_size",
        ),
        (
            change("weight_hr_l0", Some(w(&[0, 3]))),
            x.clone(),
            plain.clone(),
            "weight_hr_l0: expected a row for each",
        ),
        (
            change("weight_hh_l0", Some(w(&[10, 3]))),
            x.clone(),
            plain.clone(),
            "3 or 4 times",
        ),
        (good.clone(), x.clone(), lstm.clone(), "suggests a GRU"),
        (good.clone(), x.clone(), relu.clone(), "activation"),
        (good.clone(), x.clone(), tanh.clone(), "activation"),
        (
            good.clone(),
            with_x("d_h_n", w(&[1, 2, 3])),
            plain.clone(),
            "d_h_n: expected (1, 1, 3), got (1, 2, 3)",
        ),
        (good.clone(), vec![], plain.clone(), "`input` is missing"),
        (
            good.clone(),
            vec![("input", w(&[4, 1, 3]))],
            plain.clone(),
            "Expected 2, got 3 (the model's weight_ih_l0 has 2 columns",
        ),
        (
            good.clone(),
            vec![("input", w(&[4]))],
            plain.clone(),
            "2D or 3D, got 1D",
        ),
        (
            good.clone(),
            with_x("c_0", w(&[1, 1, 3])),
            plain.clone(),
            "only an LSTM",
        ),
        (
            good.clone(),
            with_x("h_0", w(&[1, 2, 3])),
            plain.clone(),
            "Expected hidden size (1, 1, 3)",
        ),
        (
            good.clone(),
            with_x("h_0", w(&[1, 3])),
            plain.clone(),
            "3-D",
        ),
        (
            good.clone(),
            with_x("other", w(&[1])),
            plain.clone(),
            "nothing reads",
        ),
        (
            good.clone(),
            with_x("known", w(&[1, 1, 1])),
            plain.clone(),
            "nothing reads the tensor known",
        ),
        (
            good.clone(),
            with_x("lengths", w(&[1])),
            plain.clone(),
            "lengths",
        ),
        (
            good.clone(),
            with_x("d_output", w(&[4, 1, 2])),
            plain.clone(),
            "d_output",
        ),
    ] {
        let bytes = |tensors: &[(&str, ArrayD<f64>)]| {
            write_tensors(
                tensors.iter().map(|(n, a)| ((*n).to_owned(), a.view())),
                None,
            )
            .unwrap()
        };
        let e = run(&bytes(&model), &bytes(&input), &options).unwrap_err();
        assert!(e.to_string().contains(words), "{words}: {e}");
    }
}

/// An empty axis lets a file claim any shape without holding a number.
#[test]
fn empty_inputs() {
    let (w_ih, w_hh) = (
        ArrayD::<f64>::zeros(&[3, 2][..]),
        ArrayD::zeros(&[3, 3][..]),
    );
    let model = [
        ("weight_ih_l0".to_owned(), w_ih.view()),
        ("weight_hh_l0".to_owned(), w_hh.view()),
    ];
    let model = write_tensors(model, None).unwrap();
    let out = |shape: [usize; 3]| {
        let input = ArrayD::<f64>::zeros(&shape[..]);
        let input = write_tensors([("input".to_owned(), input.view())], None).unwrap();
        run(&model, &input, &RunOptions::default())
    };
    for (shape, output) in [([0, 4, 2], [0, 4, 3]), ([4, 0, 2], [4, 0, 3])] {
        let bytes = out(shape).unwrap();
        let file = TensorFile::read(&bytes).unwrap();
        assert_eq!(file.shape("output"), Some(&output[..]));
    }
    for shape in [[1 << 60, 0, 2], [0, 1 << 60, 2], [1 << 40, 1, 0]] {
        let e = out(shape).unwrap_err();
        assert!(e.to_string().contains("the empty shape"), "{e}");
    }
}

/// What a model file asks for is refused before memory is taken for it.
#[test]
fn sizes_beyond_reason() {
    let recurrent = RecurrentConfig::new(CellKind::Gru, 2, 3);
    let sequence = NetworkConfig::Sequence(SequenceConfig {
        recurrent: recurrent.clone(),
        readout: Readout::AllStates(2),
        outputs: 4,
        head_dropout: 0.0,
        skip: None,
    });
    let encoder_decoder = NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
        recurrent: recurrent.clone(),
        known: 1,
        outputs: 4,
        steps: 2,
    });
    let one_to_many = NetworkConfig::OneToMany(OneToManyConfig {
        recurrent,
        inputs: 1,
        steps: 2,
    });
    let x = ArrayD::<f64>::zeros(&[2, 1, 2][..]);
    let mut refused = 0;
    for config in [sequence, encoder_decoder, one_to_many] {
        let json = serde_json::to_value(&config).unwrap();
        for pointer in [
            "/recurrent/input_size",
            "/recurrent/hidden_size",
            "/recurrent/stack/num_layers",
            "/readout/all_states",
            "/outputs",
            "/known",
            "/inputs",
            "/steps",
        ] {
            for huge in [1_u64 << 60, u64::MAX, 1 << 40] {
                let mut json = json.clone();
                let Some(number) = json.pointer_mut(pointer) else {
                    continue;
                };
                *number = huge.into();
                let metadata = serde_json::json!({
                    "format": 1, "network": json, "members": 1, "app": null,
                });
                let tensors = [("weight".to_owned(), x.view())];
                let metadata = (METADATA_KEY, metadata.to_string());
                let bytes = write_tensors(tensors, Some(metadata)).unwrap();
                let e = Model::<f64>::from_bytes(&bytes).unwrap_err();
                assert!(e.is_file(), "{pointer} {huge}: {e}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 3 * (5 + 6 + 5));
}

#[test]
fn lengths_that_do_not_fit() {
    let zeros = [0_u8; 8 * 9];
    let numbers = |shape: &[usize]| {
        let bytes = &zeros[..8 * shape.iter().product::<usize>()];
        TensorView::new(Dtype::F64, shape.to_vec(), bytes).unwrap()
    };
    let model = [
        ("weight_ih_l0", numbers(&[3, 1])),
        ("weight_hh_l0", numbers(&[3, 3])),
    ];
    let model = safetensors::serialize(model, None).unwrap();
    for (lengths, words) in [
        (
            &[1, -1][..],
            "lengths: row 1: expected 0 to 4 steps, got -1",
        ),
        (&[1, 5], "lengths: row 1 has 5 steps, the input has 4"),
        (&[1], "lengths: expected 2 entries"),
        (&[1, 2, 3], "lengths: expected 2 entries"),
    ] {
        let bytes: Vec<u8> = lengths.iter().flat_map(|n| i64::to_le_bytes(*n)).collect();
        let lengths = TensorView::new(Dtype::I64, vec![lengths.len()], &bytes).unwrap();
        let input = [("input", numbers(&[4, 2, 1])), ("lengths", lengths)];
        let input = safetensors::serialize(input, None).unwrap();
        let e = run(&model, &input, &RunOptions::default()).unwrap_err();
        assert!(e.to_string().contains(words), "{e}");
    }
}
