//! Networks against PyTorch, 1e-12, and the worked example step by step.

use crate::common::{Case, Fixtures, error};
use elman::cell::{Bias, CellKind};
use elman::layer::{Pass, RecurrentConfig};
use elman::ndarray::{Array2, Array3, ArrayD, ArrayView, Axis, Ix2, Ix3};
use elman::network::{
    AnyCache, AnyNetwork, EncoderDecoderConfig, Inputs, Network, NetworkConfig, OneToManyConfig,
    Readout, SequenceConfig,
};
use elman::optim::{Optimizer, Sgd};
use elman::params::Params;

const BAR: f64 = 1e-12;

/// Three axes: what lacks the axis of time gets one of length 1.
fn three(a: ArrayD<f64>) -> Array3<f64> {
    let a = if a.ndim() == 2 {
        a.insert_axis(Axis(0))
    } else {
        a
    };
    a.into_dimensionality::<Ix3>().unwrap()
}

fn recurrent(case: &Case<'_>, layer: &str) -> RecurrentConfig {
    let o = &case.options[layer];
    let size = |name: &str| o[name].as_u64().unwrap() as usize;
    let cell: CellKind = o["cell"].as_str().unwrap().parse().unwrap();
    let mut config = RecurrentConfig::new(cell, size("input_size"), size("hidden_size"));
    config.stack.num_layers = size("num_layers");
    config.stack.bidirectional = o["bidirectional"].as_bool().unwrap();
    config
}

#[test]
fn networks() {
    let mut seen = 0;
    for case in Fixtures::open("networks.safetensors").cases() {
        let input = three(case.need("input"));
        let output = three(case.need("output"));
        let outputs = output.dim().2;
        let sequence = |readout| {
            NetworkConfig::Sequence(SequenceConfig {
                recurrent: recurrent(&case, "encoder"),
                readout,
                outputs,
                head_dropout: 0.0,
                skip: None,
            })
        };
        let config = match case.options["network"].as_str().unwrap() {
            "many_to_one" => sequence(Readout::LastState),
            "many_to_many_aligned" => sequence(Readout::EveryStep),
            "many_to_one_flattened" => sequence(Readout::AllStates(input.dim().0)),
            "encoder_decoder" => NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
                recurrent: recurrent(&case, "encoder"),
                known: case.need::<f64>("known").shape()[2],
                outputs,
                steps: output.dim().0,
            }),
            "one_to_many" => NetworkConfig::OneToMany(OneToManyConfig {
                recurrent: recurrent(&case, "decoder"),
                inputs: input.dim().2,
                steps: output.dim().0,
            }),
            other => panic!("unknown network {other}"),
        };
        // The file's `network` part gives the same network back.
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<NetworkConfig>(&json).unwrap(),
            config
        );
        check(&case, config.build().unwrap(), input, output);
        seen += 1;
    }
    assert_eq!(seen, 6);
}

/// The fixture's name of a parameter: `rnn` there is `encoder`.
fn fixture_name(name: &str) -> String {
    name.replacen("rnn.", "encoder.", 1)
}

fn check(case: &Case<'_>, network: AnyNetwork, input: Array3<f64>, output: Array3<f64>) {
    let mut params = Params::zeros(Network::<f64>::layout(&network).clone());
    let layout = params.layout().clone();
    for entry in layout.entries() {
        let value = case.need::<f64>(&format!("param.{}", fixture_name(&entry.name)));
        params.set(&entry.name, value.as_slice().unwrap()).unwrap();
    }
    assert_eq!(
        layout.entries().len(),
        case.names("param.").len(),
        "{}",
        case.name
    );

    let known = case.get("known").map(three);
    let targets = case.get("targets").map(three);
    let start: Option<Array2<f64>> = case
        .get("start")
        .map(|a| a.into_dimensionality::<Ix2>().unwrap());
    let inputs = Inputs {
        input: input.view(),
        indices: None,
        known: known.as_ref().map(|a| a.view()),
        start: start.as_ref().map(|a| a.view()),
        skip: None,
        teacher: targets.as_ref().map(|a| a.view()),
    };
    let lengths = case.lengths();
    let pass = Pass {
        lengths: lengths.as_deref(),
        ..Pass::default()
    };
    let mut cache = AnyCache::Empty;
    let mut state = network.start(input.dim().1);
    let mut y = Array3::zeros(network.output_dim(&inputs).unwrap());
    let view = y.view_mut();
    network
        .forward(&params, &inputs, &pass, &mut state, &mut cache, view)
        .unwrap();
    close(case, "output", y.view(), output.view());

    let dy = three(case.need("d_output"));
    let mut grads = Params::zeros(layout.clone());
    let mut dx = Array3::zeros(input.dim());
    state.clear();
    let view = Some(dx.view_mut());
    network
        .backward(
            &params,
            &inputs,
            &mut cache,
            dy.view(),
            &mut state,
            &mut grads,
            view,
        )
        .unwrap();
    close(
        case,
        "d_input",
        dx.view(),
        three(case.need("d_input")).view(),
    );
    for entry in layout.entries() {
        let name = format!("d_param.{}", fixture_name(&entry.name));
        let expected = case.need(&name);
        close(
            case,
            &name,
            grads.get(&entry.name).unwrap(),
            expected.view(),
        );
    }
}

fn close<D: elman::ndarray::Dimension>(
    case: &Case<'_>,
    name: &str,
    got: ArrayView<'_, f64, D>,
    expected: ArrayView<'_, f64, D>,
) {
    let e = error(got, expected);
    assert!(e <= BAR, "{} {name}: {e:e}", case.name);
}

#[test]
fn worked_example() {
    let mut seen = 0;
    for case in Fixtures::open("worked.safetensors").cases() {
        let mut recurrent = RecurrentConfig::new(CellKind::Rnn, 1, 2);
        if case.name == "single" {
            recurrent.bias = Bias::Single;
        }
        let config = SequenceConfig {
            recurrent,
            readout: Readout::AllStates(3),
            outputs: 1,
            head_dropout: 0.0,
            skip: None,
        };
        let network = NetworkConfig::Sequence(config).build().unwrap();
        // Names here are the bare layer's.
        let name = |name: &str| name.replacen("rnn.", "", 1);
        let equal = |params: &Params<f64>, prefix: &str, bar: f64| {
            for entry in params.layout().entries() {
                let expected = case.need(&format!("{prefix}.{}", name(&entry.name)));
                let e = error(params.get(&entry.name).unwrap(), expected.view());
                assert!(e <= bar, "{} {prefix}.{}: {e:e}", case.name, entry.name);
            }
        };
        // Seed 0 gives PyTorch's own initial values, bit for bit.
        let mut params = network.init(0);
        equal(&params, "param", 0.0);

        // The fixture is batch first: (1, 3, 1) there is (3, 1, 1) here.
        let input = three(case.need("input"))
            .permuted_axes([1, 0, 2])
            .to_owned();
        let target: f64 = case.need("target").sum();
        let losses = case.need::<f64>("losses");
        let mut optimizer = Optimizer::Sgd(Sgd::default())
            .start(params.values().len())
            .unwrap();
        let mut cache = AnyCache::Empty;
        for (step, expected) in losses.iter().enumerate() {
            let inputs = Inputs::sequences(input.view());
            let mut state = network.start(1);
            let mut y = Array3::zeros((1, 1, 1));
            let (pass, view) = (Pass::default(), y.view_mut());
            network
                .forward(&params, &inputs, &pass, &mut state, &mut cache, view)
                .unwrap();
            let error = y[[0, 0, 0]] - target;
            let loss = error * error;
            // What a prediction that is right to the bar makes of the loss, which
            // goes to zero.
            let bound = BAR * (expected + 2.0 * error.abs() * target.abs());
            let off = (loss - expected).abs();
            assert!(off <= bound, "{} step {step}: {off:e}", case.name);

            let dy = Array3::from_elem((1, 1, 1), 2.0 * error);
            let mut grads = Params::zeros(params.layout().clone());
            state.clear();
            network
                .backward(
                    &params,
                    &inputs,
                    &mut cache,
                    dy.view(),
                    &mut state,
                    &mut grads,
                    None,
                )
                .unwrap();
            if step == 0 {
                equal(&grads, "d_param", BAR);
            }
            optimizer
                .step(params.values_mut(), grads.values(), 0.1)
                .unwrap();
            if step == 0 {
                equal(&params, "stepped", BAR);
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 2);
}
