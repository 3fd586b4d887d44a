//! The training loop: PyTorch's losses row for row, the same bytes on any
//! number of threads, and how a run ends.

use crate::common::{Fixtures, numbers, slice_error};
use elman::cell::CellKind;
use elman::layer::{RecurrentConfig, StackConfig};
use elman::loss::Loss;
use elman::ndarray::{Array3, Axis, Ix3, s};
use elman::network::{
    AnyNetwork, EncoderDecoderConfig, Network, NetworkConfig, Readout, SequenceConfig,
};
use elman::optim::{Optimizer, Plateau, Schedule, Sgd};
use elman::params::Params;
use elman::train::{
    Batch, Control, Ended, Examples, InMemory, Progress, Threads, TrainConfig, Trained, Unit,
    evaluate, fit, predict,
};
use elman::{Error, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn sequence(cell: CellKind, readout: Readout, outputs: usize) -> NetworkConfig {
    let mut recurrent = RecurrentConfig::new(cell, 2, 5);
    recurrent.stack.num_layers = 2;
    NetworkConfig::Sequence(SequenceConfig {
        recurrent,
        readout,
        outputs,
        head_dropout: 0.0,
        skip: None,
    })
}

fn array(seed: u64, dim: (usize, usize, usize)) -> Array3<f64> {
    Array3::from_shape_vec(dim, numbers(seed, dim.0 * dim.1 * dim.2)).unwrap()
}

/// Sequences of which the mean of the first feature is asked.
fn means(examples: usize) -> InMemory<f64> {
    let x = array(1, (4, examples, 2));
    let y = x.slice(s![.., .., ..1]).mean_axis(Axis(0)).unwrap();
    InMemory::new(x, y.insert_axis(Axis(0))).unwrap()
}

fn run(
    network: &AnyNetwork,
    train: &dyn Examples<f64>,
    valid: Option<&dyn Examples<f64>>,
    config: &TrainConfig,
) -> Result<Trained<f64>> {
    let params = network.init(0);
    let go_on = &mut |_: &Progress| Control::Continue;
    fit(network, params, train, valid, config, Threads(1), go_on)
}

#[test]
fn losses_are_those_of_pytorch() {
    let mut seen = 0;
    for case in Fixtures::open("training.safetensors").cases() {
        let o = case.options;
        let number = |name: &str| o[name].as_u64().unwrap();
        let three = |name| case.need::<f64>(name).into_dimensionality::<Ix3>().unwrap();
        let (x, y) = (three("input"), three("target"));
        let cell: CellKind = o["cell"].as_str().unwrap().parse().unwrap();
        let network = sequence(cell, Readout::LastState, y.dim().2)
            .build()
            .unwrap();
        let (examples, size) = (x.dim().1, number("batch_size") as usize);
        let given = |name: &str| o.get(name).cloned();
        let read = |name| serde_json::from_value(given(name).unwrap()).unwrap();
        let config = TrainConfig {
            epochs: 100 / examples.div_ceil(size),
            batch_size: size,
            shuffle: false,
            optimizer: serde_json::from_value(o["optimizer"].clone()).unwrap(),
            learning_rate: o["lr"].as_f64().unwrap(),
            schedule: given("schedule").map_or(Schedule::Constant, |_| read("schedule")),
            schedule_unit: given("unit").map_or(Unit::Step, |u| serde_json::from_value(u).unwrap()),
            clip_norm: o["clip_norm"].as_f64(),
            ..TrainConfig::default()
        };
        let train = InMemory::new(x, y).unwrap();
        let params = network.init(number("seed"));
        let go_on = &mut |_: &Progress| Control::Continue;
        let trained = fit(&network, params, &train, None, &config, Threads(1), go_on).unwrap();

        // The loss of an epoch is the mean over its examples.
        let losses = case.need::<f64>("losses").into_raw_vec_and_offset().0;
        let expected: Vec<f64> = losses
            .chunks(examples.div_ceil(size))
            .map(|epoch| {
                let sizes = (0..examples).step_by(size).map(|i| size.min(examples - i));
                let sums = epoch.iter().zip(sizes).map(|(l, n)| l * n as f64);
                sums.sum::<f64>() / examples as f64
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
    assert_eq!(seen, 4);
}

/// Ragged rows, or a decoder under teacher forcing; targets that do not count.
struct Gaps {
    input: Array3<f64>,
    target: Array3<f64>,
    lengths: Option<Vec<usize>>,
    /// 1 or 0, (K, N, 1).
    weight: Array3<f64>,
}

impl Gaps {
    /// What does not count is `hole`.
    fn new(examples: usize, decoder: bool, hole: f64) -> Self {
        let lengths: Vec<_> = (0..examples).map(|n| n * 7 % 5).collect();
        let mut input = array(2, (4, examples, 2));
        let steps = if decoder { 3 } else { 4 };
        let mut target = array(3, (steps, examples, 2));
        let mut weight = Array3::ones((steps, examples, 1));
        for (n, length) in lengths.iter().enumerate() {
            for t in 0..steps {
                if if decoder {
                    (t + n) % 3 == 0
                } else {
                    t >= *length
                } {
                    weight[[t, n, 0]] = 0.0;
                    target.slice_mut(s![t, n, ..]).fill(hole);
                }
            }
            input.slice_mut(s![*length.., n, ..]).fill(hole);
        }
        Self {
            input,
            target,
            lengths: Some(lengths),
            weight,
        }
    }

    fn network(decoder: bool) -> AnyNetwork {
        if decoder {
            let mut recurrent = RecurrentConfig::new(CellKind::Gru, 2, 5);
            recurrent.stack.num_layers = 2;
            recurrent.stack.dropout = 0.3;
            let config = EncoderDecoderConfig {
                recurrent,
                known: 0,
                outputs: 2,
                steps: 3,
            };
            return NetworkConfig::EncoderDecoder(config).build().unwrap();
        }
        sequence(CellKind::Lstm, Readout::EveryStep, 2)
            .build()
            .unwrap()
    }

    /// The same with masks of every kind, and initial states that are learned.
    fn network_with_options(decoder: bool) -> AnyNetwork {
        let mut config = Self::network(decoder).config().unwrap();
        let recurrent = match &mut config {
            NetworkConfig::Sequence(c) => &mut c.recurrent,
            NetworkConfig::EncoderDecoder(c) => &mut c.recurrent,
            NetworkConfig::OneToMany(c) => &mut c.recurrent,
            NetworkConfig::Chain(_) => unreachable!("no chain is made above"),
        };
        recurrent.stack = StackConfig {
            dropout: 0.3,
            locked_dropout: true,
            recurrent_dropout: 0.2,
            weight_drop: 0.2,
            zoneout_hidden: 0.1,
            learn_initial_state: true,
            ..recurrent.stack.clone()
        };
        config.build().unwrap()
    }
}

impl Examples<f64> for Gaps {
    fn len(&self) -> usize {
        self.input.dim().1
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f64>) {
        batch.input = self.input.select(Axis(1), numbers);
        batch.target = self.target.select(Axis(1), numbers);
        batch.weight = Some(self.weight.select(Axis(1), numbers));
        let lengths = self.lengths.as_ref();
        batch.lengths = lengths.map(|l| numbers.iter().map(|n| l[*n]).collect());
        batch.teacher_forcing = self.target.dim().0 == 3;
    }
}

/// The bits of all that a run returns.
fn bits(trained: &Trained<f64>) -> Vec<u64> {
    let losses = trained.train_losses.iter().chain(&trained.valid_losses);
    let values = trained.params.values().iter().chain(losses);
    values.map(|v| v.to_bits()).collect()
}

#[test]
fn threads_change_no_byte() {
    for (decoder, options) in [(false, false), (true, false), (false, true), (true, true)] {
        let network = match options {
            true => Gaps::network_with_options(decoder),
            false => Gaps::network(decoder),
        };
        let (train, valid) = (Gaps::new(130, decoder, 0.0), Gaps::new(50, decoder, 0.0));
        let config = TrainConfig {
            epochs: 3,
            batch_size: 60,
            clip_norm: Some(0.5),
            ..TrainConfig::default()
        };
        let run = |threads| {
            let params = network.init(1);
            let go_on = &mut |_: &Progress| Control::Continue;
            let valid: Option<&dyn Examples<f64>> = Some(&valid);
            fit(
                &network,
                params,
                &train,
                valid,
                &config,
                Threads(threads),
                go_on,
            )
            .unwrap()
        };
        let one = run(1);
        for threads in [0, 2, 3] {
            assert_eq!(bits(&run(threads)), bits(&one), "{threads}");
        }
        let params: Params<f64> = network.init(1);
        assert_ne!(one.params.values(), params.values());
    }
}

/// A batch that is one block is divided inside of the layers.
#[test]
fn threads_change_no_byte_of_few_rows() {
    let config = SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Lstm, 2, 40),
        readout: Readout::EveryStep,
        outputs: 1,
        head_dropout: 0.1,
        skip: None,
    };
    let network = NetworkConfig::Sequence(config).build().unwrap();
    let (x, y) = (array(1, (50, 40, 2)), array(2, (50, 40, 1)));
    let examples = InMemory::new(x, y).unwrap();
    for (batch_size, truncate) in [(16, None), (12, Some(20)), (1, None)] {
        let config = TrainConfig {
            epochs: 2,
            batch_size,
            truncate,
            clip_norm: Some(0.5),
            ..TrainConfig::default()
        };
        let run = |threads| {
            let go_on = &mut |_: &Progress| Control::Continue;
            let params = network.init(1);
            let threads = Threads(threads);
            fit(&network, params, &examples, None, &config, threads, go_on).unwrap()
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert_eq!(bits(&run(threads)), bits(&one), "{threads}");
        }
    }
}

/// Several blocks fail: the error is that of the first, on any threads.
#[test]
fn threads_change_no_error() {
    let network = Gaps::network(false);
    let mut train = Gaps::new(70, false, 0.0);
    let lengths = train.lengths.as_mut().unwrap();
    // The sixth row of the second block, the fourth of the third, ...
    for n in [16 + 5, 32 + 3, 48, 64 + 1] {
        lengths[n] = 99;
    }
    for threads in [0, 1, 2, 3, 8] {
        let params: Params<f64> = network.init(1);
        let e = evaluate(&network, &params, &train, &Loss::Mse, Threads(threads)).unwrap_err();
        let words = "lengths: row 5 has 99 steps";
        assert!(e.is_shape() && e.to_string().starts_with(words), "{e}");
    }
}

/// Every row of a batch has masks of its own, also beyond the rows that one
/// thread takes at a time: equal examples are dropped from differently.
#[test]
fn masks_belong_to_rows() {
    let loss = |rows, head_dropout| {
        let config = SequenceConfig {
            recurrent: RecurrentConfig::new(CellKind::Gru, 2, 5),
            readout: Readout::LastState,
            outputs: 1,
            head_dropout,
            skip: None,
        };
        let network = NetworkConfig::Sequence(config).build().unwrap();
        let (x, y) = (array(1, (4, 1, 2)), array(2, (1, 1, 1)));
        let repeat = |a: &Array3<f64>| a.select(Axis(1), &vec![0; rows]);
        let examples = InMemory::new(repeat(&x), repeat(&y)).unwrap();
        let config = TrainConfig {
            epochs: 1,
            batch_size: rows,
            ..TrainConfig::default()
        };
        let trained = run(&network, &examples, None, &config).unwrap();
        trained.train_losses[0]
    };
    let all: Vec<_> = [1, 8, 16, 32, 48].map(|rows| loss(rows, 0.5)).into();
    for (i, a) in all.iter().enumerate() {
        for b in &all[..i] {
            assert!((a - b).abs() > 1e-9, "{all:?}");
        }
    }
    for rows in [8, 16, 32, 48] {
        assert!((loss(rows, 0.0) - loss(1, 0.0)).abs() < 1e-14);
    }
}

/// What has no weight is never seen, in training nor in evaluation, also by a
/// decoder that reads the targets.
#[test]
fn targets_without_weight_never_leak() {
    for decoder in [false, true] {
        let network = Gaps::network(decoder);
        let config = TrainConfig {
            epochs: 4,
            batch_size: 20,
            ..TrainConfig::default()
        };
        let trained = |hole| {
            let examples = Gaps::new(30, decoder, hole);
            run(&network, &examples, Some(&examples), &config).unwrap()
        };
        let zero = trained(0.0);
        assert!(zero.valid_losses.iter().all(|l| l.is_finite() && *l > 0.0));
        for hole in [f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(bits(&trained(hole)), bits(&zero), "{hole}");
        }
    }
}

/// Remembers which examples were asked for.
struct Remembering {
    examples: InMemory<f64>,
    asked: Mutex<Vec<usize>>,
}

impl Examples<f64> for Remembering {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f64>) {
        self.asked.lock().unwrap().extend(numbers);
        self.examples.gather(numbers, batch);
    }
}

#[test]
fn every_epoch_has_an_order_of_its_own() {
    let network = sequence(CellKind::Gru, Readout::LastState, 1)
        .build()
        .unwrap();
    let epochs = |shuffle, seed| -> Vec<Vec<usize>> {
        let train = Remembering {
            examples: means(40),
            asked: Mutex::default(),
        };
        let valid = means(1);
        let config = TrainConfig {
            epochs: 3,
            batch_size: 7,
            shuffle,
            seed,
            ..TrainConfig::default()
        };
        run(&network, &train, Some(&valid), &config).unwrap();
        let asked = train.asked.into_inner().unwrap();
        asked.chunks(40).map(<[usize]>::to_vec).collect()
    };
    let all: Vec<usize> = (0..40).collect();
    assert_eq!(epochs(false, 0), vec![all.clone(); 3]);
    let (mut orders, again) = (epochs(true, 0), epochs(true, 0));
    assert_eq!(orders, again);
    orders.extend(epochs(true, 1));
    for (i, order) in orders.iter().enumerate() {
        assert!(orders[..i].iter().all(|other| other != order));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, all);
    }
}

/// Also where a batch makes several steps of the optimiser.
#[test]
fn every_example_is_asked_for_once_an_epoch() {
    let config = SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 2, 5),
        readout: Readout::EveryStep,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    };
    let network = NetworkConfig::Sequence(config).build().unwrap();
    for truncate in [None, Some(2), Some(5)] {
        let (x, y) = (array(1, (5, 70, 2)), array(2, (5, 70, 1)));
        let train = Remembering {
            examples: InMemory::new(x, y).unwrap(),
            asked: Mutex::default(),
        };
        let config = TrainConfig {
            epochs: 2,
            batch_size: 40,
            shuffle: false,
            truncate,
            ..TrainConfig::default()
        };
        run(&network, &train, None, &config).unwrap();
        let asked = train.asked.into_inner().unwrap();
        // Without validation, each epoch looks at a first batch again.
        let epoch = (0..70).chain(0..40);
        assert_eq!(asked, Vec::from_iter(epoch.clone().chain(epoch)));
    }
}

/// A network that learns 1 while 0.5 is asked of it in validation: on the way
/// it is best in the middle.
fn passing_by() -> (AnyNetwork, InMemory<f64>, InMemory<f64>, TrainConfig) {
    let network = sequence(CellKind::Gru, Readout::LastState, 1)
        .build()
        .unwrap();
    let constant = |y| {
        let x = array(1, (3, 8, 2));
        InMemory::new(x, Array3::from_elem((1, 8, 1), y)).unwrap()
    };
    let config = TrainConfig {
        epochs: 200,
        optimizer: Optimizer::Sgd(Sgd::default()),
        learning_rate: 0.02,
        ..TrainConfig::default()
    };
    (network, constant(1.0), constant(0.5), config)
}

/// The epoch of the least loss.
fn least(losses: &[f64]) -> usize {
    let order = |a: &usize, b: &usize| losses[*a].total_cmp(&losses[*b]);
    (0..losses.len()).min_by(order).unwrap()
}

#[test]
fn patience_ends_a_run_and_the_best_is_kept() {
    let (network, train, valid, config) = passing_by();
    for (patience, waits) in [(5, 5), (1, 1), (0, 1)] {
        let config = TrainConfig {
            patience: Some(patience),
            ..config.clone()
        };
        let trained = run(&network, &train, Some(&valid), &config).unwrap();
        assert_eq!(trained.ended, Ended::Early);
        let best = least(&trained.valid_losses);
        assert!(best > 2, "{best}");
        assert_eq!(trained.kept_epoch, best);
        assert_eq!(trained.valid_losses.len(), best + 1 + waits);
        let loss = evaluate(&network, &trained.params, &valid, &config.loss, Threads(1)).unwrap();
        assert_eq!(loss, trained.valid_losses[best]);
    }
    // Without validation there is nothing to wait for: the newest are kept.
    let config = TrainConfig {
        patience: Some(1),
        epochs: 20,
        ..config
    };
    let trained = run(&network, &train, None, &config).unwrap();
    assert_eq!((trained.ended, trained.kept_epoch), (Ended::Completed, 19));
    assert!(trained.valid_losses.is_empty());
}

/// A tolerance keeps the last epoch that is nearly as good as the best so far.
#[test]
fn a_tolerance_keeps_later_parameters() {
    let (network, train, valid, config) = passing_by();
    let config = TrainConfig {
        tolerance: 100.0,
        ..config
    };
    let trained = run(&network, &train, Some(&valid), &config).unwrap();
    let losses = &trained.valid_losses;
    let so_far = |epoch: usize| losses[least(&losses[..=epoch])];
    let kept = (0..losses.len()).rfind(|e| losses[*e] <= 101.0 * so_far(*e));
    assert_eq!(Some(trained.kept_epoch), kept);
    assert!(trained.kept_epoch > least(losses));
    let loss = evaluate(&network, &trained.params, &valid, &config.loss, Threads(1)).unwrap();
    assert_eq!(loss, losses[trained.kept_epoch]);
}

#[test]
fn the_caller_may_stop_a_run() {
    let (network, train, valid, config) = passing_by();
    for valid in [Some(&valid as &dyn Examples<f64>), None] {
        let mut seen = Vec::new();
        let mut watch = |progress: &Progress| {
            seen.push(*progress);
            if progress.epoch == 60 {
                Control::Stop
            } else {
                Control::Continue
            }
        };
        let params = network.init(0);
        let trained = fit(
            &network,
            params,
            &train,
            valid,
            &config,
            Threads(1),
            &mut watch,
        )
        .unwrap();
        assert_eq!(trained.ended, Ended::Asked);
        assert_eq!(seen.len(), 61);
        for (epoch, p) in seen.iter().enumerate() {
            assert_eq!((p.epoch, p.epochs), (epoch, 200));
            assert_eq!(p.train_loss, trained.train_losses[epoch]);
            let (best, loss) = match valid {
                Some(_) => {
                    let losses = &trained.valid_losses[..=epoch];
                    assert_eq!(p.valid_loss, losses.last().copied());
                    (least(losses), losses[least(losses)])
                }
                None => (epoch, p.train_loss),
            };
            assert_eq!((p.best_epoch, p.best_loss), (best, loss));
        }
        let last = seen.last().unwrap();
        assert_eq!(trained.kept_epoch, last.best_epoch);
        assert_eq!(valid.is_some(), trained.kept_epoch < 60);
    }
}

/// Examples that go bad after some batches.
struct Spoiled {
    examples: InMemory<f64>,
    good: usize,
    bad: f64,
    batches: AtomicUsize,
}

impl Examples<f64> for Spoiled {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f64>) {
        self.examples.gather(numbers, batch);
        if self.batches.fetch_add(1, Ordering::Relaxed) >= self.good {
            batch.target[[0, 0, 0]] = self.bad;
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_ends_a_run() {
    let network = sequence(CellKind::Lstm, Readout::LastState, 1)
        .build()
        .unwrap();
    let valid = means(16);
    let spoiled = |good, bad| Spoiled {
        examples: means(40),
        good,
        bad,
        batches: AtomicUsize::new(0),
    };
    let config = TrainConfig {
        epochs: 9,
        batch_size: 10,
        ..TrainConfig::default()
    };
    // Four steps an epoch: step 9 is the second of the third epoch.
    let two_epochs = TrainConfig {
        epochs: 2,
        ..config.clone()
    };
    let good = run(&network, &means(40), Some(&valid), &two_epochs).unwrap();
    for bad in [f64::NAN, f64::INFINITY, -f64::INFINITY, 1e200] {
        for clip_norm in [None, Some(1.0)] {
            let config = TrainConfig {
                clip_norm,
                ..config.clone()
            };
            let trained = run(&network, &spoiled(9, bad), Some(&valid), &config).unwrap();
            assert_eq!(trained.ended, Ended::NotFinite { step: 9 }, "{bad}");
            assert_eq!(trained.train_losses.len(), 2);
            if clip_norm.is_none() {
                assert_eq!(bits(&trained), bits(&good), "{bad}");
            }
            assert!(trained.params.values().iter().all(|w| w.is_finite()));

            let e = run(&network, &spoiled(2, bad), Some(&valid), &config).unwrap_err();
            assert!(
                e.is_numeric() && e.to_string().contains("at step 2,"),
                "{e}"
            );
        }
    }
    // The validation loss counts as well: it is seen after the fourth step.
    let e = run(&network, &means(40), Some(&spoiled(0, f64::NAN)), &config).unwrap_err();
    assert!(
        e.is_numeric() && e.to_string().contains("at step 4,"),
        "{e}"
    );
    let late = spoiled(3, f64::NAN);
    let trained = run(&network, &means(40), Some(&late), &config).unwrap();
    assert_eq!(trained.ended, Ended::NotFinite { step: 8 });
    assert_eq!(trained.valid_losses.len(), 1);
}

/// A loss may be finite where the parameters are not: here its first example
/// does not count.
#[test]
fn parameters_that_are_not_finite_are_not_kept() {
    let network = Gaps::network(false);
    let mut examples = Gaps::new(2, false, 0.0);
    examples.lengths = None;
    examples.weight.fill(1.0);
    examples.weight.index_axis_mut(Axis(1), 0).fill(0.0);
    examples.target.fill(1e10);
    let config = TrainConfig {
        batch_size: 1,
        shuffle: false,
        optimizer: Optimizer::Sgd(Sgd::default()),
        learning_rate: 1e300,
        ..TrainConfig::default()
    };
    let e = run(&network, &examples, None, &config).unwrap_err();
    assert!(
        e.is_numeric() && e.to_string().contains("at step 2,"),
        "{e}"
    );
}

#[test]
fn a_learning_rate_that_is_too_high_leaves_finite_parameters() {
    let mut ends = [0; 2];
    for (cell, nonlinear) in [
        (CellKind::Rnn, elman::cell::Nonlinearity::Relu),
        (CellKind::Gru, elman::cell::Nonlinearity::Tanh),
    ] {
        let mut recurrent = RecurrentConfig::new(cell, 2, 5);
        recurrent.nonlinearity = nonlinear;
        let network = NetworkConfig::Sequence(SequenceConfig {
            recurrent,
            readout: Readout::LastState,
            outputs: 1,
            head_dropout: 0.0,
            skip: None,
        });
        let network = network.build().unwrap();
        for learning_rate in [1e3, 1e10, 1e100, 1e300] {
            let config = TrainConfig {
                epochs: 300,
                optimizer: Optimizer::Sgd(Sgd::default()),
                learning_rate,
                ..TrainConfig::default()
            };
            match run(&network, &means(20), None, &config) {
                Ok(trained) => {
                    assert!(trained.params.values().iter().all(|w| w.is_finite()));
                    assert!(matches!(trained.ended, Ended::NotFinite { step } if step > 0));
                    ends[0] += 1;
                }
                Err(e) => {
                    assert!(e.is_numeric() && e.to_string().contains("at step "), "{e}");
                    ends[1] += 1;
                }
            }
        }
    }
    assert!(ends[0] > 0 && ends[1] > 0, "{ends:?}");
}

/// A plateau stops the learning once the validation loss gets no better; its
/// unit is the epoch.
#[test]
fn a_plateau_looks_at_the_validation_loss() {
    let (network, train, valid, config) = passing_by();
    let config = TrainConfig {
        schedule: Schedule::Plateau(Plateau {
            factor: 0.0,
            patience: 2,
            threshold: 0.0,
            ..Plateau::default()
        }),
        ..config
    };
    let trained = run(&network, &train, Some(&valid), &config).unwrap();
    let losses = &trained.valid_losses;
    let best = least(losses);
    let stopped = best + 3;
    assert!(stopped + 10 < losses.len());
    for epoch in 1..losses.len() {
        assert_eq!(
            losses[epoch] == losses[epoch - 1],
            epoch > stopped,
            "{epoch}"
        );
    }
}

#[test]
fn options_are_refused() {
    let network = sequence(CellKind::Gru, Readout::LastState, 1)
        .build()
        .unwrap();
    let refuse = |change: &dyn Fn(&mut TrainConfig), words: &str| {
        let mut config = TrainConfig::default();
        change(&mut config);
        let e = run(&network, &means(4), None, &config).unwrap_err();
        assert!(
            e.is_option() && e.to_string().contains(words),
            "{words}: {e}"
        );
    };
    refuse(&|c| c.epochs = 0, "epochs");
    refuse(&|c| c.batch_size = 0, "batch_size");
    refuse(&|c| c.tolerance = f64::NAN, "tolerance");
    refuse(&|c| c.learning_rate = f64::NAN, "lr");
    refuse(&|c| c.clip_norm = Some(-1.0), "max_norm");
    refuse(&|c| c.loss = Loss::Huber { delta: 0.0 }, "delta");
    refuse(
        &|c| {
            c.schedule = Schedule::Plateau(Plateau {
                factor: 2.0,
                ..Plateau::default()
            })
        },
        "factor",
    );
    let config = TrainConfig::default();
    let refused = |examples: &dyn Examples<f64>, words: &str| {
        let e: Error = run(&network, examples, None, &config).unwrap_err();
        assert!(
            e.is_shape() && e.to_string().contains(words),
            "{words}: {e}"
        );
    };
    refused(&means(0), "no training examples");
    let wide = InMemory::new(array(1, (4, 3, 2)), array(2, (1, 3, 2))).unwrap();
    refused(&wide, "target");
    let features = InMemory::new(array(1, (4, 3, 1)), array(2, (1, 3, 1))).unwrap();
    refused(&features, "Expected 2, got 1");
    assert!(InMemory::new(array(1, (4, 3, 2)), array(2, (1, 2, 1))).is_err());
    // No validation examples are as none.
    let trained = run(&network, &means(4), Some(&means(0)), &config).unwrap();
    assert!(trained.valid_losses.is_empty());
}

/// More examples than one pass takes, on two threads.
#[test]
fn evaluation_and_prediction_are_those_of_each_example() {
    for decoder in [false, true] {
        let network = Gaps::network(decoder);
        let params: Params<f64> = network.init(3);
        let examples = Gaps::new(300, decoder, f64::NAN);
        let one = |n: usize| {
            let cut = |a: &Array3<f64>| a.slice(s![.., n..=n, ..]).to_owned();
            Gaps {
                input: cut(&examples.input),
                target: cut(&examples.target),
                weight: cut(&examples.weight),
                lengths: examples.lengths.as_ref().map(|l| vec![l[n]]),
            }
        };
        let (mut sum, mut count) = (0.0, 0.0);
        let mut alone = Vec::new();
        for n in 0..300 {
            let example = one(n);
            let loss = evaluate(&network, &params, &example, &Loss::Mse, Threads(1)).unwrap();
            sum += loss * example.weight.sum();
            count += example.weight.sum();
            predict(&network, &params, &example, Threads(1), |first, y| {
                assert_eq!(first, 0);
                alone.push(y.to_owned());
            })
            .unwrap();
        }
        for threads in [1, 2] {
            let threads = Threads(threads);
            let loss = evaluate(&network, &params, &examples, &Loss::Mse, threads).unwrap();
            assert!((loss - sum / count).abs() <= 1e-14 * loss, "{loss}");
            let mut next = 0;
            predict(&network, &params, &examples, threads, |first, y| {
                assert_eq!(first, next);
                for y in y.axis_iter(Axis(1)) {
                    let expected = alone[next].index_axis(Axis(1), 0);
                    assert_eq!(y.mapv(f64::to_bits), expected.mapv(f64::to_bits));
                    next += 1;
                }
            })
            .unwrap();
            assert_eq!(next, 300);
        }
    }
}
