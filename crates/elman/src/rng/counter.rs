//! A counter-based generator: the numbers of a place are a function of its
//! key and of nothing that was drawn before, so that threads, resumed runs
//! and recomputed steps all see the same ones.

use crate::Float;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What the numbers are for. Two purposes never share a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Dropout masks.
    Dropout,
    /// The order of training windows.
    Shuffle,
    /// Draws from a model's own distribution.
    Sampling,
    /// Masks of the state in the recurrent products.
    RecurrentDropout,
    /// Masks of the recurrent weights.
    WeightDrop,
    /// Which units keep their state.
    Zoneout,
}

/// The place of a random number above its row and time.
///
/// ```
/// use elman::rng::{Key, Purpose};
///
/// let key = Key::new(42, Purpose::Dropout).step(7).layer(1);
/// let mut mask = [0.0_f32; 5];
/// key.stream(3, 0).fill(&mut mask); // row 3, time 0
/// assert!(mask.iter().all(|u| (0.0..1.0).contains(u)));
///
/// let again = key.stream(3, 0).uniform::<f32>();
/// assert_eq!(again, mask[0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    purpose: Purpose,
    step: u64,
    layer: u32,
    reverse: bool,
}

impl Key {
    /// The key of a seed and a purpose, at step 0 and layer 0,
    /// forward.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self {
            seed,
            purpose,
            step: 0,
            layer: 0,
            reverse: false,
        }
    }

    /// The same key for another purpose.
    #[must_use]
    pub fn purpose(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// The same key at a training step, an epoch, or whatever counts time
    /// outside the sequence.
    #[must_use]
    pub fn step(self, step: u64) -> Self {
        Self { step, ..self }
    }

    /// The same key at a layer.
    #[must_use]
    pub fn layer(self, layer: u32) -> Self {
        Self { layer, ..self }
    }

    /// The same key in a direction of a layer.
    #[must_use]
    pub fn reverse(self, reverse: bool) -> Self {
        Self { reverse, ..self }
    }

    /// The numbers that belong to one row and one time step.
    pub fn stream(&self, row: u64, time: u64) -> Stream {
        // ChaCha's key and nonce hold every part side by side: different
        // places cannot meet.
        let purpose = match self.purpose {
            Purpose::Dropout => 0,
            Purpose::Shuffle => 1,
            Purpose::Sampling => 2,
            Purpose::RecurrentDropout => 3,
            Purpose::WeightDrop => 4,
            Purpose::Zoneout => 5,
        };
        let place = u64::from(self.layer) << 32 | u64::from(self.reverse) << 31 | purpose;
        let mut chacha_key = [0; 32];
        for (bytes, part) in chacha_key
            .chunks_exact_mut(8)
            .zip([self.seed, self.step, place, row])
        {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        let mut words = ChaCha8Rng::from_seed(chacha_key);
        words.set_stream(time);
        Stream { words }
    }
}

/// The random numbers of one [`Key`], row and time, in order.
#[derive(Debug, Clone)]
pub struct Stream {
    words: ChaCha8Rng,
}

impl Stream {
    /// A number from `[0, 1)`, every one of the 2^24 (`f32`) or 2^53 (`f64`)
    /// steps equally likely.
    pub fn uniform<F: Float>(&mut self) -> F {
        if F::BYTES == f32::BYTES {
            F::lit(f64::from(self.words.next_u32() >> 8) / (1_u32 << 24) as f64)
        } else {
            F::lit((self.words.next_u64() >> 11) as f64 / (1_u64 << 53) as f64)
        }
    }

    /// Fills a slice with numbers from `[0, 1)`, as repeated calls of
    /// [`uniform`](Self::uniform) would.
    pub fn fill<F: Float>(&mut self, out: &mut [F]) {
        out.fill_with(|| self.uniform());
    }

    /// Puts the items into a random order, every order equally likely
    /// (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// A number from `0..n`, each equally likely (Lemire 2019: the high half
    /// of a product, with the draws that would favour some numbers thrown
    /// away). `n` is at least 1.
    fn below(&mut self, n: u64) -> u64 {
        let surplus = n.wrapping_neg() % n; // 2^64 mod n
        loop {
            let product = u128::from(self.words.next_u64()) * u128::from(n);
            if product as u64 >= surplus {
                return (product >> 64) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn first_words(key: Key, row: u64, time: u64) -> [u64; 2] {
        let mut stream = key.stream(row, time);
        [stream.words.next_u64(), stream.words.next_u64()]
    }

    #[test]
    fn every_part_of_the_place_counts() {
        let base = Key::new(1, Purpose::Dropout);
        let high = 1 << 40;
        let places = [
            (base, 0, 0),
            (base, 1, 0),
            (base, 0, 1),
            (base, high, 0),
            (base, 0, high),
            (base.step(1), 0, 0),
            (base.step(high), 0, 0),
            (base.layer(1), 0, 0),
            (Key::new(1, Purpose::Shuffle), 0, 0),
            (Key::new(1, Purpose::Sampling), 0, 0),
            (base.purpose(Purpose::RecurrentDropout), 0, 0),
            (base.purpose(Purpose::WeightDrop), 0, 0),
            (base.purpose(Purpose::Zoneout), 0, 0),
            (base.reverse(true), 0, 0),
            (Key::new(0, Purpose::Dropout), 0, 0),
            (Key::new(1 | high, Purpose::Dropout), 0, 0),
        ];
        let words: HashSet<_> = places.map(|(k, r, t)| first_words(k, r, t)).into();
        assert_eq!(words.len(), places.len());
    }

    #[test]
    fn numbers_do_not_depend_on_other_draws() {
        let key = Key::new(9, Purpose::Dropout).step(3).layer(2);
        let alone: Vec<_> = (0..50).map(|row| first_words(key, row, 5)).collect();
        let mut other = key.stream(7, 5);
        for row in (0..50).rev() {
            other.fill(&mut [0.0_f64; 100]);
            assert_eq!(first_words(key, row, 5), alone[row as usize]);
        }
    }

    /// Numbers are part of what a seed means: a change here changes every
    /// trained model.
    #[test]
    fn streams_stay_as_they_are() {
        let mut stream = Key::new(42, Purpose::Dropout)
            .step(7)
            .layer(1)
            .stream(3, 11);
        assert_eq!(stream.uniform::<f32>(), 0.449_015_2);
        assert_eq!(stream.uniform::<f64>(), 0.059_698_394_873_247_02);
        let mut order: Vec<usize> = (0..10).collect();
        Key::new(42, Purpose::Shuffle)
            .stream(0, 0)
            .shuffle(&mut order);
        assert_eq!(order, [8, 6, 0, 2, 5, 4, 1, 3, 7, 9]);
    }

    #[test]
    fn uniforms_are_uniform() {
        fn check<F: Float>() {
            let mut u = vec![F::zero(); 200_000];
            Key::new(5, Purpose::Sampling).stream(0, 0).fill(&mut u);
            let mut histogram = [0.0; 20];
            for x in &u {
                assert!((0.0..1.0).contains(&x.f64()));
                histogram[(x.f64() * 20.0) as usize] += 1.0;
            }
            // Chi-squared with 19 degrees of freedom: 43.8 at one in a thousand.
            let expected = u.len() as f64 / 20.0;
            let chi: f64 = histogram
                .map(|n: f64| (n - expected).powi(2) / expected)
                .iter()
                .sum();
            assert!(chi < 43.8, "{chi}");
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn every_order_is_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        let draws = 24_000;
        for row in 0..draws {
            let mut order = [0, 1, 2, 3];
            Key::new(1, Purpose::Shuffle)
                .stream(row, 0)
                .shuffle(&mut order);
            *counts.entry(order).or_insert(0.0) += 1.0;
        }
        assert_eq!(counts.len(), 24);
        // Chi-squared with 23 degrees of freedom: 49.7 at one in a thousand.
        let expected = draws as f64 / 24.0;
        let chi: f64 = counts
            .values()
            .map(|n: &f64| (n - expected).powi(2) / expected)
            .sum();
        assert!(chi < 49.7, "{chi}");
    }

    #[test]
    fn short_slices_shuffle_to_themselves() {
        let mut stream = Key::new(0, Purpose::Shuffle).stream(0, 0);
        let mut one = [7];
        stream.shuffle(&mut one);
        stream.shuffle::<usize>(&mut []);
        assert_eq!(one, [7]);
    }

    #[test]
    fn bounded_draws_stay_in_bounds() {
        let mut stream = Key::new(0, Purpose::Sampling).stream(0, 0);
        for n in [1, 2, 3, 1 << 33, (1 << 63) + 1, u64::MAX] {
            for _ in 0..100 {
                assert!(stream.below(n) < n);
            }
        }
    }
}
