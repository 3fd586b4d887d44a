//! Many to one: the mood of a scene from its frames.
//!
//! A frame is its brightness and its loudness; the mood is in how they change:
//! joy grows brighter, sorrow darker, tension flickers. Scenes have 4 to 12
//! frames, and one frame alone tells nothing.
//!
//!     x (T, B, 2) -> GRU -> each row's last state (1, B, 16) -> scores of moods (1, B, 3)
//!
//!     cargo run --release -p elman --example many_to_one

use elman::Result;
use elman::cell::CellKind;
use elman::layer::RecurrentConfig;
use elman::loss::Loss;
use elman::ndarray::{Array3, ArrayView1, Axis, s};
use elman::network::{Network, NetworkConfig, Readout, SequenceConfig};
use elman::rng::{Key, Purpose};
use elman::train::{Batch, Control, Examples, Threads, TrainConfig, fit, predict};

const MOODS: [&str; 3] = ["joy", "sorrow", "tension"];
const LONGEST: usize = 12;

/// Scenes side by side, padded to the longest.
struct Scenes {
    frames: Array3<f32>, // (T, N, 2)
    lengths: Vec<usize>,
    moods: Vec<usize>,
}

impl Scenes {
    fn draw(count: usize, seed: u64) -> Self {
        let mut scenes = Self {
            frames: Array3::zeros((LONGEST, count, 2)),
            lengths: Vec::new(),
            moods: Vec::new(),
        };
        for n in 0..count {
            let mut random = Key::new(seed, Purpose::Sampling).stream(n as u64, 0);
            let mut below = |n: usize| (random.uniform::<f64>() * n as f64) as usize;
            let (length, mood) = (4 + below(LONGEST - 3), below(MOODS.len()));
            let base: f32 = random.uniform();
            for t in 0..length {
                let change = match mood {
                    0 => 0.08 * t as f32,
                    1 => -0.08 * t as f32,
                    _ => 0.2 * (-1.0_f32).powi(t as i32),
                };
                let noise = 0.3 * (random.uniform::<f32>() - 0.5);
                scenes.frames[[t, n, 0]] = base + change + noise;
                scenes.frames[[t, n, 1]] = random.uniform();
            }
            scenes.lengths.push(length);
            scenes.moods.push(mood);
        }
        scenes
    }
}

impl Examples<f32> for Scenes {
    fn len(&self) -> usize {
        self.moods.len()
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f32>) {
        // The class is one number, (1, B, 1); padding is never read.
        batch.input = self.frames.select(Axis(1), numbers);
        batch.lengths = Some(numbers.iter().map(|n| self.lengths[*n]).collect());
        let class = |(_, row, _): (usize, usize, usize)| self.moods[numbers[row]] as f32;
        batch.target = Array3::from_shape_fn((1, numbers.len(), 1), class);
    }
}

/// What the example finds out.
pub struct Outcome {
    /// Share of the unseen scenes whose mood is found, by frames.
    pub accuracy: f64,
    /// The training loss of each epoch; ln 3 = 1.099 is guessing.
    pub losses: Vec<f64>,
    /// Some unseen scenes: frames, mood, and the mood found.
    pub scenes: Vec<(usize, usize, usize)>,
}

/// Trains on 400 scenes, and names the moods of 200 others.
pub fn run() -> Result<Outcome> {
    let network = NetworkConfig::Sequence(SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 2, 16),
        readout: Readout::LastState,
        outputs: MOODS.len(),
        head_dropout: 0.0,
        skip: None,
    })
    .build()?;
    let config = TrainConfig {
        epochs: 40,
        loss: Loss::CrossEntropy(Default::default()),
        learning_rate: 0.01,
        ..TrainConfig::default()
    };
    let (scenes, unseen) = (Scenes::draw(400, 1), Scenes::draw(200, 2));
    let go_on = &mut |_: &_| Control::Continue;
    let params = network.init(0);
    let trained = fit(&network, params, &scenes, None, &config, Threads(1), go_on)?;

    let mut found = Vec::new();
    predict(
        &network,
        &trained.params,
        &unseen,
        Threads(1),
        |_, scores| {
            let rows = scores.slice(s![0, .., ..]); // (B, 3)
            found.extend(rows.rows().into_iter().map(highest));
        },
    )?;
    let scenes = (unseen.lengths.iter().zip(&unseen.moods).zip(found))
        .map(|((length, mood), found)| (*length, *mood, found));
    let scenes: Vec<_> = scenes.collect();
    let right = scenes.iter().filter(|(_, mood, found)| mood == found);
    Ok(Outcome {
        accuracy: right.count() as f64 / scenes.len() as f64,
        losses: trained.train_losses,
        scenes,
    })
}

/// The class of the highest score.
fn highest(scores: ArrayView1<'_, f32>) -> usize {
    let order = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
    (0..scores.len()).max_by(order).unwrap_or(0)
}

fn main() -> Result<()> {
    let outcome = run()?;
    for (epoch, loss) in outcome.losses.iter().enumerate().step_by(8) {
        println!("epoch {epoch:2}: loss {loss:.4}");
    }
    for (frames, mood, found) in &outcome.scenes[..6] {
        let (mood, found) = (MOODS[*mood], MOODS[*found]);
        println!("an unseen scene of {frames:2} frames, {mood:7}: {found}");
    }
    let percent = 100.0 * outcome.accuracy;
    println!(
        "{percent:.1} % of {} unseen scenes are right",
        outcome.scenes.len()
    );
    Ok(())
}
