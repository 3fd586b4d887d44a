//! One to many: from one encoded feeling, a line of verse.
//!
//! A feeling is two numbers, how glad and how lively. It becomes the first
//! state of a decoder, which then writes a word at a time and reads what it
//! wrote.
//!
//!     v (1, B, 2) -> tanh(start) -> h_0 (1, B, 24)
//!     [previous word] -> GRU -> scores of words (6, B, words)
//!
//!     cargo run --release -p elman --example one_to_many

use elman::Result;
use elman::cell::CellKind;
use elman::layer::RecurrentConfig;
use elman::ndarray::{Array3, Axis};
use elman::network::{Network, NetworkConfig, OneToManyConfig};
use elman::optim::{Adam, Optimizer};
use elman::rng::{Key, Purpose};
use elman::train::{Control, InMemory, Threads, TrainConfig, fit, predict};

/// Feelings (glad, lively) and their lines, six words each.
pub const LINES: [([f32; 2], &str); 4] = [
    ([1.0, 1.0], "the morning river runs to you"),
    ([1.0, -1.0], "a quiet garden sleeps in light"),
    ([-1.0, 1.0], "the wild wind tears the sail"),
    ([-1.0, -1.0], "the grey rain falls on stone"),
];
const STEPS: usize = 6;

/// What the example finds out.
pub struct Outcome {
    /// The training loss of each epoch.
    pub losses: Vec<f64>,
    /// Feelings near the four, and the lines written for them, feeling by
    /// feeling in the order of [`LINES`].
    pub written: Vec<([f32; 2], String)>,
}

/// Feelings near the four: what is felt is never quite the same.
fn feelings(each: usize, seed: u64) -> Vec<[f32; 2]> {
    let mut random = Key::new(seed, Purpose::Sampling).stream(0, 0);
    let mut near = |x: f32| x + 0.6 * (random.uniform::<f32>() - 0.5);
    let all = LINES.iter().flat_map(|(v, _)| vec![*v; each]);
    all.map(|v| v.map(&mut near)).collect()
}

/// Feelings as an input, (1, B, 2).
fn encode(feelings: &[[f32; 2]]) -> Array3<f32> {
    Array3::from_shape_fn((1, feelings.len(), 2), |(_, n, i)| feelings[n][i])
}

/// Trains on feelings near the four, and writes for others.
pub fn run() -> Result<Outcome> {
    let mut words: Vec<&str> = LINES.iter().flat_map(|(_, l)| l.split(' ')).collect();
    words.sort_unstable();
    words.dedup();

    // A word is a vector of zeros with a one in its place: targets (6, N, words).
    const EACH: usize = 30;
    let felt = feelings(EACH, 1);
    let dim = (STEPS, felt.len(), words.len());
    let target = Array3::from_shape_fn(dim, |(t, n, w)| {
        let word = LINES[n / EACH].1.split(' ').nth(t);
        if word == Some(words[w]) { 1.0 } else { 0.0 }
    });
    let examples = InMemory::new(encode(&felt), target)?;

    let network = NetworkConfig::OneToMany(OneToManyConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, words.len(), 24),
        inputs: 2,
        steps: STEPS,
    })
    .build()?;
    let config = TrainConfig {
        epochs: 150,
        optimizer: Optimizer::Adam(Adam::default()),
        learning_rate: 0.01,
        clip_norm: Some(1.0),
        ..TrainConfig::default()
    };
    let go_on = &mut |_: &_| Control::Continue;
    let trained = fit(
        &network,
        network.init(0),
        &examples,
        None,
        &config,
        Threads(1),
        go_on,
    )?;

    let unseen = feelings(2, 2);
    // Only the feelings are read; there is no true line.
    let input = InMemory::new(
        encode(&unseen),
        Array3::zeros((STEPS, unseen.len(), words.len())),
    )?;
    let mut written = Vec::new();
    predict(
        &network,
        &trained.params,
        &input,
        Threads(1),
        |first, scores| {
            for (row, scores) in scores.axis_iter(Axis(1)).enumerate() {
                let line: Vec<_> = (scores.rows().into_iter())
                    .map(|scores| {
                        let order = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
                        words[(0..words.len()).max_by(order).unwrap_or(0)]
                    })
                    .collect();
                written.push((unseen[first + row], line.join(" ")));
            }
        },
    )?;
    Ok(Outcome {
        losses: trained.train_losses,
        written,
    })
}

fn main() -> Result<()> {
    let outcome = run()?;
    for (epoch, loss) in outcome.losses.iter().enumerate().step_by(25) {
        println!("epoch {epoch:3}: loss {loss:.5}");
    }
    for ([glad, lively], line) in &outcome.written {
        println!("glad {glad:5.2}, lively {lively:5.2}: {line}");
    }
    Ok(())
}
