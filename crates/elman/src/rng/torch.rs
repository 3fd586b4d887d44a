//! PyTorch's CPU generator: same seed, same numbers, bit for bit.

use crate::Float;
use rand_mt::Mt;

/// The generator behind `torch.manual_seed`: the 32-bit Mersenne twister.
///
/// Drawing the parameters of a network from it in PyTorch's order gives
/// PyTorch's initial weights.
///
/// ```
/// use elman::rng::TorchRng;
///
/// // torch.manual_seed(0); torch.rand(3)
/// let mut rng = TorchRng::new(0);
/// let drawn = [0; 3].map(|_| rng.uniform_f32(0.0, 1.0));
/// assert_eq!(drawn, [0.49625659, 0.76822180, 0.08847743]);
/// ```
#[derive(Debug, Clone)]
pub struct TorchRng {
    twister: Mt,
    /// Of a pair of normal numbers, the one that is still to be given.
    normal: Option<f64>,
}

impl TorchRng {
    /// The generator as `torch.manual_seed(seed)` leaves it. Only the low 32
    /// bits of the seed count, as in PyTorch.
    pub fn new(seed: u64) -> Self {
        Self {
            twister: Mt::new((seed & 0xffff_ffff) as u32),
            normal: None,
        }
    }

    /// The next number of `Tensor.uniform_(a, b)` for `float32`, in `[a, b)`
    /// where `a < b`. Takes one draw of 32 bits.
    pub fn uniform_f32(&mut self, a: f32, b: f32) -> f32 {
        let u = (self.twister.next_u32() & 0x00ff_ffff) as f32 / (1_u32 << 24) as f32;
        below(u.mul_add(b - a, a), a, b)
    }

    /// The next number of `Tensor.uniform_(a, b)` for `float64`, in `[a, b)`
    /// where `a < b`. Takes two draws of 32 bits, the high half first.
    pub fn uniform_f64(&mut self, a: f64, b: f64) -> f64 {
        let bits = self.twister.next_u64() & ((1 << 53) - 1);
        let u = bits as f64 / (1_u64 << 53) as f64;
        below(u.mul_add(b - a, a), a, b)
    }

    /// [`uniform_f32`](Self::uniform_f32) or
    /// [`uniform_f64`](Self::uniform_f64), by the type asked for.
    pub fn uniform<F: Float>(&mut self, a: f64, b: f64) -> F {
        if F::BYTES == f32::BYTES {
            F::lit(self.uniform_f32(a as f32, b as f32).f64())
        } else {
            F::lit(self.uniform_f64(a, b))
        }
    }

    /// `Tensor.normal_()` of a contiguous tensor: N(0, 1), by Box and Muller
    /// (1958). The numbers are PyTorch's up to the rounding of `log` and `cos`,
    /// which PyTorch computes in another way on every processor.
    ///
    /// ```
    /// use elman::rng::TorchRng;
    ///
    /// // torch.manual_seed(0); torch.empty(2, dtype=torch.float64).normal_()
    /// let mut drawn = [0.0_f64; 2];
    /// TorchRng::new(0).normal(&mut drawn);
    /// assert_eq!(drawn.map(|x| (x * 1e4).round()), [15410.0, -2934.0]);
    /// ```
    pub fn normal<F: Float>(&mut self, values: &mut [F]) {
        const BLOCK: usize = 16;
        if values.len() < BLOCK {
            for value in values {
                *value = F::lit(self.next_normal());
            }
            return;
        }
        let mut draw = |values: &mut [F]| {
            for value in values {
                *value = self.uniform(0.0, 1.0);
            }
        };
        draw(values);
        let (blocks, rest) = values.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(pair_up);
        // What is left over is drawn again, with the numbers before it.
        if !rest.is_empty()
            && let Some(last) = values.last_chunk_mut::<BLOCK>()
        {
            draw(last);
            pair_up(last);
        }
    }

    /// PyTorch draws few numbers one by one, in double precision.
    fn next_normal(&mut self) -> f64 {
        if let Some(normal) = self.normal.take() {
            return normal;
        }
        let (angle, length) = (self.uniform_f64(0.0, 1.0), self.uniform_f64(0.0, 1.0));
        let (sin, cos) = (std::f64::consts::TAU * angle).sin_cos();
        let radius = (-2.0 * (-length).ln_1p()).sqrt();
        self.normal = Some(radius * sin);
        radius * cos
    }
}

/// Makes 16 uniform numbers normal; the first half are lengths, the second
/// angles.
fn pair_up<F: Float>(values: &mut [F; 16]) {
    let (lengths, angles) = values.split_at_mut(8);
    for (length, angle) in lengths.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - length.f64()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * angle.f64()).sin_cos();
        (*length, *angle) = (F::lit(radius * cos), F::lit(radius * sin));
    }
}

/// Rounding may reach the open end of the interval; PyTorch then takes the
/// closed one.
fn below<F: Float>(x: F, a: F, b: F) -> F {
    if x == b { a } else { x }
}
