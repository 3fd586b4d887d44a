//! Truncated back-propagation through time: PyTorch's losses with a detached
//! state, a plain loop's bits, and a state that is carried.

use crate::common::{Fixtures, numbers, slice_error};
use elman::Result;
use elman::cell::CellKind;
use elman::layer::{Pass, RecurrentConfig};
use elman::loss::{Loss, Reduction};
use elman::ndarray::{Array3, ArrayView3, Axis, Ix3, s};
use elman::network::{
    AnyCache, AnyNetwork, EncoderDecoderConfig, Inputs, Network, NetworkConfig, OneToManyConfig,
    Readout, SequenceConfig,
};
use elman::optim::{Adam, AdamW, Optimizer, Sgd};
use elman::params::Params;
use elman::rng::{Key, Purpose};
use elman::train::{
    Batch, Control, Ended, Examples, InMemory, Progress, Threads, TrainConfig, Trained, evaluate,
    fit, predict,
};

fn config(cell: CellKind, inputs: usize, outputs: usize) -> SequenceConfig {
    let mut recurrent = RecurrentConfig::new(cell, inputs, 5);
    recurrent.stack.num_layers = 2;
    SequenceConfig {
        recurrent,
        readout: Readout::EveryStep,
        outputs,
        head_dropout: 0.0,
        skip: None,
    }
}

fn build(config: SequenceConfig) -> AnyNetwork {
    NetworkConfig::Sequence(config).build().unwrap()
}

/// A network that drops wherever it can.
fn dropping(cell: CellKind) -> AnyNetwork {
    let mut config = config(cell, 2, 3);
    config.recurrent.stack.dropout = 0.3;
    config.head_dropout = 0.4;
    build(config)
}

fn array(seed: u64, dim: (usize, usize, usize)) -> Array3<f64> {
    Array3::from_shape_vec(dim, numbers(seed, dim.0 * dim.1 * dim.2)).unwrap()
}

/// Rows of different lengths, and targets that do not count.
struct Rows {
    input: Array3<f64>,
    target: Array3<f64>,
    lengths: Vec<usize>,
    /// 1 or 0, (T, N, 1).
    weight: Array3<f64>,
}

impl Rows {
    /// What lies behind the rows is no number.
    fn new(steps: usize, lengths: Vec<usize>) -> Self {
        let rows = lengths.len();
        let mut examples = Self {
            input: array(1, (steps, rows, 2)),
            target: array(2, (steps, rows, 3)),
            weight: Array3::ones((steps, rows, 1)),
            lengths,
        };
        for row in 0..rows {
            examples.leave_out(row, examples.lengths[row], steps);
            let behind = s![examples.lengths[row].., row, ..];
            examples.input.slice_mut(behind).fill(f64::NAN);
        }
        examples
    }

    fn varied(steps: usize, rows: usize) -> Self {
        Self::new(steps, (0..rows).map(|n| n * 7 % (steps + 1)).collect())
    }

    fn leave_out(&mut self, row: usize, from: usize, to: usize) {
        self.weight.slice_mut(s![from..to, row, ..]).fill(0.0);
        self.target.slice_mut(s![from..to, row, ..]).fill(f64::NAN);
    }
}

impl Examples<f64> for Rows {
    fn len(&self) -> usize {
        self.lengths.len()
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f64>) {
        batch.input = self.input.select(Axis(1), numbers);
        batch.target = self.target.select(Axis(1), numbers);
        batch.weight = Some(self.weight.select(Axis(1), numbers));
        batch.lengths = Some(numbers.iter().map(|n| self.lengths[*n]).collect());
    }
}

fn run(
    network: &AnyNetwork,
    train: &dyn Examples<f64>,
    config: &TrainConfig,
    threads: usize,
) -> Result<Trained<f64>> {
    let go_on = &mut |_: &Progress| Control::Continue;
    let (params, threads) = (network.init(3), Threads(threads));
    fit(network, params, train, None, config, threads, go_on)
}

/// The bits of all that a run returns.
fn bits(trained: &Trained<f64>) -> Vec<u64> {
    let values = trained.params.values().iter().chain(&trained.train_losses);
    values.map(|v| v.to_bits()).collect()
}

#[test]
fn losses_are_those_of_pytorch_with_a_detached_state() {
    let mut seen = 0;
    for case in Fixtures::open("tbptt.safetensors").cases() {
        let o = case.options;
        let number = |name: &str| o[name].as_u64().unwrap() as usize;
        let three = |name| case.need::<f64>(name).into_dimensionality::<Ix3>().unwrap();
        let (input, target) = (three("input"), three("target"));
        let (steps, rows, _) = input.dim();
        let cell: CellKind = o["cell"].as_str().unwrap().parse().unwrap();
        let network = build(config(cell, input.dim().2, target.dim().2));
        let lengths: Vec<usize> = match o.get("lengths") {
            Some(lengths) => serde_json::from_value(lengths.clone()).unwrap(),
            None => vec![steps; rows],
        };
        let train = Rows {
            weight: Array3::from_shape_fn((steps, rows, 1), |(t, n, _)| {
                f64::from(u8::from(t < lengths[n]))
            }),
            lengths,
            input,
            target,
        };
        let size = number("batch_size");
        let an_epoch = rows.div_ceil(size) * steps.div_ceil(number("truncate"));
        let config = TrainConfig {
            epochs: number("steps_taken") / an_epoch,
            batch_size: size,
            shuffle: false,
            optimizer: serde_json::from_value(o["optimizer"].clone()).unwrap(),
            learning_rate: o["lr"].as_f64().unwrap(),
            truncate: Some(number("truncate")),
            ..TrainConfig::default()
        };
        let params = network.init(number("seed") as u64);
        let go_on = &mut |_: &Progress| Control::Continue;
        let trained = fit(&network, params, &train, None, &config, Threads(1), go_on).unwrap();

        // The loss of an epoch is the mean over its valid steps.
        let flat = |name| case.need::<f64>(name).into_raw_vec_and_offset().0;
        let (losses, counts) = (flat("losses"), flat("counts"));
        let epochs = losses.chunks(an_epoch).zip(counts.chunks(an_epoch));
        let expected: Vec<f64> = epochs
            .map(|(l, n)| {
                let sum: f64 = l.iter().zip(n).map(|(l, n)| l * n).sum();
                sum / n.iter().sum::<f64>()
            })
            .collect();
        assert_eq!(trained.train_losses.len(), expected.len());
        for (epoch, (got, expected)) in trained.train_losses.iter().zip(&expected).enumerate() {
            let e = (got - expected).abs() / expected;
            assert!(e <= 1e-9, "{} epoch {epoch}: {e:e}", case.name);
        }
        for entry in trained.params.layout().entries() {
            let got = &trained.params.values()[entry.range.clone()];
            let expected = case.need::<f64>(&format!("trained.{}", entry.name));
            let e = slice_error(got, expected.as_slice().unwrap());
            assert!(e <= 1e-9, "{} {}: {e:e}", case.name, entry.name);
        }
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// What truncation is, in a plain loop over the parts of one batch.
fn by_hand(network: &AnyNetwork, train: &Rows, config: &TrainConfig) -> Params<f64> {
    let size = config.truncate.unwrap();
    let (steps, rows, _) = train.input.dim();
    let mut params: Params<f64> = network.init(3);
    let mut optimizer = config.optimizer.start(params.values().len()).unwrap();
    let mut grads = Params::zeros(params.layout().clone());
    for _ in 0..config.epochs {
        let mut state = network.start(rows);
        let key = Key::new(config.seed, Purpose::Dropout).step(optimizer.steps());
        for start in (0..steps).step_by(size) {
            let part = s![start..steps.min(start + size), .., ..];
            let inputs = Inputs::sequences(train.input.slice(part));
            let part_steps = inputs.input.dim().0;
            let left = |l: &usize| l.saturating_sub(start).min(part_steps);
            let lengths: Vec<usize> = train.lengths.iter().map(left).collect();
            let pass = Pass {
                lengths: Some(&lengths),
                dropout: Some(key),
                first_step: start,
                ..Pass::default()
            };
            let mut cache = AnyCache::default();
            let mut y = Array3::zeros((part_steps, rows, 3));
            network
                .forward(
                    &params,
                    &inputs,
                    &pass,
                    &mut state,
                    &mut cache,
                    y.view_mut(),
                )
                .unwrap();
            let (target, weight) = (train.target.slice(part), Some(train.weight.slice(part)));
            let divisor = config
                .loss
                .divisor(Reduction::Mean, target, weight)
                .unwrap();
            if divisor == 0.0 {
                continue;
            }
            let mut dy = Array3::zeros(y.dim());
            (config.loss)
                .evaluate(y.view(), target, weight, divisor, dy.view_mut())
                .unwrap();
            let mut d_state = network.start(rows);
            grads.clear();
            network
                .backward(
                    &params,
                    &inputs,
                    &mut cache,
                    dy.view(),
                    &mut d_state,
                    &mut grads,
                    None,
                )
                .unwrap();
            let lr = config.learning_rate;
            optimizer
                .step(params.values_mut(), grads.values(), lr)
                .unwrap();
        }
    }
    params
}

/// The first part counts in nothing, and some rows end early.
#[test]
fn parts_are_those_of_a_plain_loop() {
    for (cell, optimizer) in [
        (CellKind::Rnn, Optimizer::Sgd(Sgd::default())),
        (CellKind::Gru, Optimizer::Adam(Adam::default())),
        (CellKind::Lstm, Optimizer::AdamW(AdamW::default())),
    ] {
        let network = dropping(cell);
        for truncate in [1, 3, 4, 10] {
            let mut train = Rows::new(11, vec![11, 3, 8, 0, 4]);
            for row in 0..5 {
                train.leave_out(row, 0, 3);
            }
            let config = TrainConfig {
                epochs: 3,
                shuffle: false,
                optimizer: optimizer.clone(),
                truncate: Some(truncate),
                ..TrainConfig::default()
            };
            let trained = run(&network, &train, &config, 1).unwrap();
            let expected = by_hand(&network, &train, &config);
            assert_eq!(
                trained.params.values(),
                expected.values(),
                "{cell} {truncate}"
            );
        }
    }
}

#[test]
fn parts_as_long_as_the_sequence_are_ordinary_training() {
    let network = dropping(CellKind::Lstm);
    let train = Rows::varied(9, 40);
    let trained = |truncate| {
        let config = TrainConfig {
            epochs: 3,
            batch_size: 20,
            clip_norm: Some(0.1),
            truncate,
            ..TrainConfig::default()
        };
        bits(&run(&network, &train, &config, 1).unwrap())
    };
    let ordinary = trained(None);
    for truncate in [9, 10, 1000, usize::MAX] {
        assert_eq!(trained(Some(truncate)), ordinary, "{truncate}");
    }
    assert_ne!(trained(Some(8)), ordinary);
}

#[test]
fn threads_change_no_byte() {
    let network = dropping(CellKind::Gru);
    let train = Rows::varied(10, 70);
    let config = TrainConfig {
        epochs: 2,
        batch_size: 60,
        truncate: Some(3),
        ..TrainConfig::default()
    };
    let one = bits(&run(&network, &train, &config, 1).unwrap());
    for threads in [0, 2, 3] {
        assert_eq!(bits(&run(&network, &train, &config, threads).unwrap()), one);
    }
}

/// Where nothing is learned, the parts of a batch have the loss of the whole:
/// its states and its masks.
#[test]
fn masks_are_those_of_the_uncut_batch() {
    let network = dropping(CellKind::Gru);
    let train = Rows::varied(12, 35);
    let loss = |truncate, seed| {
        let config = TrainConfig {
            epochs: 1,
            batch_size: 35,
            optimizer: Optimizer::Sgd(Sgd::default()),
            learning_rate: 0.0,
            truncate,
            seed,
            ..TrainConfig::default()
        };
        run(&network, &train, &config, 1).unwrap().train_losses[0]
    };
    let whole = loss(None, 0);
    assert!((loss(None, 1) - whole).abs() > 1e-6);
    for truncate in [1, 5, 6, 11] {
        let parts = loss(Some(truncate), 0);
        assert!((parts - whole).abs() < 1e-14, "{truncate}: {parts} {whole}");
    }
}

/// Passes without gradients go by parts too: of more steps than one part has,
/// nothing is different.
#[test]
fn evaluation_is_that_of_an_uncut_pass() {
    let network = dropping(CellKind::Lstm);
    let params: Params<f64> = network.init(1);
    let lengths = vec![600, 256, 0, 257, 511, 512, 1, 513, 599];
    let (rows, steps) = (lengths.len(), 600);
    let examples = Rows::new(steps, lengths);
    let mut y = Array3::zeros((steps, rows, 3));
    let pass = Pass {
        lengths: Some(&examples.lengths),
        ..Pass::default()
    };
    network
        .forward(
            &params,
            &Inputs::sequences(examples.input.view()),
            &pass,
            &mut network.start(rows),
            &mut AnyCache::default(),
            y.view_mut(),
        )
        .unwrap();
    let (target, weight) = (examples.target.view(), Some(examples.weight.view()));
    let divisor = Loss::Mse.divisor(Reduction::Mean, target, weight).unwrap();
    let mut dy = Array3::zeros(y.dim());
    let expected = Loss::Mse
        .evaluate(y.view(), target, weight, divisor, dy.view_mut())
        .unwrap();
    let loss = evaluate(&network, &params, &examples, &Loss::Mse, Threads(1)).unwrap();
    assert_eq!(loss.to_bits(), expected.to_bits());
    let same = |_, got: ArrayView3<'_, f64>| {
        assert_eq!(got.mapv(f64::to_bits), y.mapv(f64::to_bits));
    };
    predict(&network, &params, &examples, Threads(1), same).unwrap();
}

/// A bit is shown at the first step and asked for at every step. Parts that
/// begin with no state cannot know it.
#[test]
fn a_state_is_carried_to_the_next_part() {
    const PART: usize = 4;
    let (steps, rows) = (5 * PART, 16);
    let bit = |n: usize| if n.is_multiple_of(2) { 1.0 } else { -1.0 };
    let x = Array3::from_shape_fn(
        (steps, rows, 1),
        |(t, n, _)| {
            if t == 0 { bit(n) } else { 0.0 }
        },
    );
    let y = Array3::from_shape_fn((steps, rows, 1), |(_, n, _)| bit(n));
    // The same parts as examples of their own.
    let pieces = |a: &Array3<f64>| {
        let dim = (PART, 5 * rows, 1);
        Array3::from_shape_fn(dim, |(t, n, _)| a[[n / rows * PART + t, n % rows, 0]])
    };
    let network = build(config(CellKind::Gru, 1, 1));
    let config = TrainConfig {
        epochs: 150,
        batch_size: rows,
        shuffle: false,
        learning_rate: 0.02,
        truncate: Some(PART),
        ..TrainConfig::default()
    };
    let last = |x, y| {
        let train = InMemory::new(x, y).unwrap();
        *run(&network, &train, &config, 1)
            .unwrap()
            .train_losses
            .last()
            .unwrap()
    };
    let reset = last(pieces(&x), pieces(&y));
    let carried = last(x, y);
    // Four of five pieces have nothing to go by.
    assert!(carried < 0.01 && reset > 0.7, "{carried} {reset}");
}

/// A series in rows, cut into parts, is read in its order.
#[test]
fn a_series_goes_on_from_part_to_part() {
    let series = array(5, (23, 1, 2)).index_axis_move(Axis(1), 0);
    let train = InMemory::batchify(series.view(), series.view(), 3).unwrap();
    assert_eq!(train.input().dim(), (7, 3, 2));
    for (row, part) in train.input().axis_iter(Axis(1)).enumerate() {
        assert_eq!(part, series.slice(s![row * 7..(row + 1) * 7, ..]));
    }
    for rows in [0, 24] {
        let e = InMemory::batchify(series.view(), series.view(), rows).unwrap_err();
        assert!(
            e.is_option() && e.to_string().contains("from 1 to 23"),
            "{e}"
        );
    }
    let short = series.slice(s![..22, ..]);
    assert!(
        InMemory::batchify(series.view(), short, 2)
            .unwrap_err()
            .is_shape()
    );
}

#[test]
fn a_run_ends_as_ever() {
    let network = build(config(CellKind::Gru, 2, 3));
    let train = Rows::new(10, vec![10; 4]);
    let config = TrainConfig {
        epochs: 50,
        truncate: Some(3),
        patience: Some(1),
        learning_rate: 0.3,
        ..TrainConfig::default()
    };
    let valid: Option<&dyn Examples<f64>> = Some(&train);
    let run = |valid, stop: usize, params: Params<f64>| {
        let mut watch = |p: &Progress| {
            if p.epoch == stop {
                Control::Stop
            } else {
                Control::Continue
            }
        };
        fit(
            &network,
            params,
            &train,
            valid,
            &config,
            Threads(1),
            &mut watch,
        )
    };
    let asked = run(valid, 0, network.init(0)).unwrap();
    assert_eq!((asked.ended, asked.valid_losses.len()), (Ended::Asked, 1));
    let early = run(valid, 50, network.init(0)).unwrap();
    assert_eq!(early.ended, Ended::Early);
    assert_eq!(early.valid_losses.len(), early.kept_epoch + 2);
    let loss = evaluate(&network, &early.params, &train, &Loss::Mse, Threads(1)).unwrap();
    assert_eq!(loss, early.valid_losses[early.kept_epoch]);

    // Four steps an epoch: the third part is step 2.
    let mut train = Rows::new(10, vec![10; 4]);
    train.target[[7, 0, 0]] = f64::INFINITY;
    let go_on = &mut |_: &Progress| Control::Continue;
    let params = network.init(0);
    let e = fit(&network, params, &train, None, &config, Threads(1), go_on).unwrap_err();
    assert!(
        e.is_numeric() && e.to_string().contains("at step 2,"),
        "{e}"
    );
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let refuse = |network: &AnyNetwork, train: &dyn Examples<f64>, truncate, words: &str| {
        let config = TrainConfig {
            truncate: Some(truncate),
            ..TrainConfig::default()
        };
        let e = run(network, train, &config, 1).unwrap_err();
        assert!(e.to_string().contains(words), "{words}: {e}");
        e
    };
    let train = Rows::new(6, vec![6; 3]);
    let plain = config(CellKind::Gru, 2, 3);
    let e = refuse(
        &build(plain.clone()),
        &train,
        0,
        "truncate must be greater than zero",
    );
    assert!(e.is_option());
    let mut both = plain.clone();
    both.recurrent.stack.bidirectional = true;
    let mut last = plain.clone();
    last.readout = Readout::LastState;
    let recurrent = plain.recurrent.clone();
    let decoder = NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
        recurrent: recurrent.clone(),
        known: 0,
        outputs: 3,
        steps: 6,
    });
    let writer = NetworkConfig::OneToMany(OneToManyConfig {
        recurrent,
        inputs: 2,
        steps: 6,
    });
    for (network, words) in [
        (build(both), "begins at the end of the sequence"),
        (build(last), "use the readout every_step"),
        (decoder.build().unwrap(), "the whole input has been read"),
        (writer.build().unwrap(), "one vector"),
    ] {
        let e = refuse(&network, &train, 2, words);
        assert!(
            e.is_option() && e.to_string().starts_with("truncate: "),
            "{e}"
        );
    }
    // Parts of targets that do not belong to the steps, lengths beyond them.
    let network = build(plain);
    for steps in [5, 7] {
        let mut train = Rows::new(6, vec![6; 3]);
        train.target = array(2, (steps, 3, 3));
        train.weight = Array3::ones((steps, 3, 1));
        assert!(refuse(&network, &train, 2, "target").is_shape());
    }
    let mut train = Rows::new(6, vec![6; 3]);
    train.lengths[1] = 7;
    assert!(refuse(&network, &train, 2, "row 1 has 7 steps").is_shape());
}
