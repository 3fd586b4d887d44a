//! Gradients of weights: products of a transpose over many rows,
//! `out += sum over rows of a (H) x (K)'`.
//!
//! The rows of a chunk are packed once, in the order in which their products
//! are added, wherever they lie; threads then divide the rows of `out`, so that
//! no sum depends on how many there are.

use super::dispatch::Task;
use super::ends::{load, store};
use super::lanes::Lanes;
use super::packed::{Packed, PackedLeft};
use super::parts::{Parts, share};
use super::product::product_left;
use super::team::Team;
use crate::Float;
use std::ops::Range;

/// Right factors that a product may choose from.
pub const FROM: usize = 3;

/// One product: numbers `first..first + rows` of every left row by all numbers
/// of a right row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Block {
    /// The first number of the left rows.
    pub first: usize,
    /// How many of them: rows of the product.
    pub rows: usize,
    /// Which of the right rows.
    pub from: usize,
    /// Where the product goes, row-major.
    pub out: usize,
    /// Where the sums of the left rows go, if they are wanted.
    pub sum: Option<usize>,
}

/// The left factor of a row and the right ones it may be multiplied with.
pub type Factors<'a, 'b, F> = dyn Fn(usize) -> (&'a [F], [&'a [F]; FROM]) + Sync + 'b;

/// Work space for products of transposes. No allocation once it is large
/// enough.
#[derive(Debug, Clone)]
pub struct Outer<F> {
    left: Vec<PackedLeft<F>>,
    right: [Packed<F>; FROM],
    /// Sums of left rows, block after block.
    sums: Vec<F>,
}

impl<F: Float> Default for Outer<F> {
    fn default() -> Self {
        Self {
            left: Vec::new(),
            right: Default::default(),
            sums: Vec::new(),
        }
    }
}

impl<F: Float> Outer<F> {
    /// Adds the products of `rows` rows. `row(i)` is the left one and the right
    /// ones, whose lengths are `widths`; a width of 0 is not read.
    ///
    /// # Panics
    /// Where a place does not fit or two overlap: a mistake of the caller, not
    /// of the input.
    pub fn add<'a>(
        &mut self,
        team: &Team,
        rows: usize,
        row: &Factors<'a, '_, F>,
        widths: [usize; FROM],
        blocks: &[Block],
        out: &mut [F],
    ) {
        F::add_outer(self, team, rows, row, widths, blocks, out);
    }

    pub(super) fn add_here<'a>(
        &mut self,
        team: &Team,
        rows: usize,
        row: &Factors<'a, '_, F>,
        widths: [usize; FROM],
        blocks: &[Block],
        out: &mut [F],
    ) {
        if rows == 0 {
            return;
        }
        check(blocks, widths, out.len());
        let flop = (blocks.iter()).map(|b| 2 * rows * b.rows * widths[b.from]);
        let alone = Team::alone();
        let team = if flop.sum::<usize>() < SMALL {
            &alone
        } else {
            team
        };
        // Blocks that read the same numbers of the left rows share a copy.
        let same = |a: &Block, b: &Block| (a.first, a.rows) == (b.first, b.rows);
        let leader = |at: usize| {
            (0..at)
                .find(|i| same(&blocks[*i], &blocks[at]))
                .unwrap_or(at)
        };
        self.left
            .resize_with(blocks.len().max(self.left.len()), PackedLeft::default);
        for (at, (block, left)) in blocks.iter().zip(&mut self.left).enumerate() {
            let height = if leader(at) == at { block.rows } else { 0 };
            left.resize(height, rows);
        }
        for (right, width) in self.right.iter_mut().zip(widths) {
            right.resize(rows, 1, width, true);
        }
        self.sums.clear();
        self.sums
            .resize(blocks.iter().map(|b| b.rows).sum(), F::zero());
        let jobs = team.threads();
        let mut left = self.left.iter_mut();
        let left: [_; MOST] = std::array::from_fn(|_| left.next().map(PackedLeft::parts));
        let mut right = self.right.iter_mut();
        let right: [_; FROM] = std::array::from_fn(|_| right.next().map(Packed::parts));
        let sums = Parts::new(&mut self.sums);
        team.run(jobs, |job| {
            let mut copies: [Option<Copy<'_, F>>; MOST] = Default::default();
            let mut start = 0;
            for (at, block) in blocks.iter().enumerate() {
                let sum = start..start + block.rows;
                start = sum.end;
                if leader(at) != at {
                    continue;
                }
                let Some(left) = &left[at] else { continue };
                let tiles = share(left.count, jobs, job);
                let own = tiles.start * left.width..block.rows.min(tiles.end * left.width);
                // SAFETY: the jobs' shares are disjoint, and so are the sums of
                // blocks.
                let (to, sums) = unsafe {
                    let own = sum.start + own.start.min(own.end)..sum.start + own.end;
                    (left.range(tiles), sums.range(own))
                };
                copies[at] = Some(Copy {
                    columns: block.first + own.start.min(own.end)..block.first + own.end,
                    width: left.width,
                    to,
                    sums,
                });
            }
            let mut rights: [Option<Copy<'_, F>>; FROM] = Default::default();
            for ((copy, right), width) in rights.iter_mut().zip(&right).zip(widths) {
                let Some(right) = right else { continue };
                let panels = share(right.count, jobs, job);
                *copy = Some(Copy {
                    columns: (panels.start * right.width).min(width)..width,
                    width: right.width,
                    // SAFETY: the jobs' shares are disjoint.
                    to: unsafe { right.range(panels) },
                    sums: &mut [],
                });
            }
            for first in (0..rows).step_by(TOGETHER) {
                let together = TOGETHER.min(rows - first);
                let mut from: [[&[F]; TOGETHER]; 1 + FROM] = Default::default();
                for i in 0..together {
                    let (left, right) = row(first + i);
                    from[0][i] = left;
                    for (from, right) in from[1..].iter_mut().zip(right) {
                        from[i] = right;
                    }
                }
                let [left, right @ ..] = &from;
                for copy in copies.iter_mut().flatten() {
                    copy.rows(&left[..together], first, rows);
                }
                for (copy, from) in rights.iter_mut().zip(right) {
                    if let Some(copy) = copy {
                        copy.rows(&from[..together], first, rows);
                    }
                }
            }
        });
        let (left, right, sums) = (&self.left, &self.right, &self.sums);
        let out = Parts::new(out);
        team.run(jobs, |job| {
            let mut start = 0;
            for (at, block) in blocks.iter().enumerate() {
                let left = &left[leader(at)];
                let tiles = share(left.tiles(), jobs, job);
                let units = tiles.start * left.tile()..block.rows.min(tiles.end * left.tile());
                if units.is_empty() {
                    continue;
                }
                let width = widths[block.from];
                let place = block.out + units.start * width..block.out + units.end * width;
                // SAFETY: the jobs' shares of a block are disjoint, and `check`
                // has found the blocks to be disjoint.
                let to = unsafe { out.range(place) };
                product_left(left, tiles, &right[block.from], to, width);
            }
            for (at, block) in blocks.iter().enumerate() {
                let own = &sums[start..start + block.rows];
                start += block.rows;
                if leader(at) != at {
                    continue;
                }
                let left = &left[at];
                let tiles = share(left.tiles(), jobs, job);
                let units = tiles.start * left.tile()..block.rows.min(tiles.end * left.tile());
                if units.is_empty() {
                    continue;
                }
                for sum in blocks.iter().filter(|b| same(b, block)) {
                    let Some(sum) = sum.sum else { continue };
                    // SAFETY: as above.
                    let to = unsafe { out.range(sum + units.start..sum + units.end) };
                    to.iter_mut()
                        .zip(&own[units.clone()])
                        .for_each(|(to, d)| *to += *d);
                }
            }
        });
    }
}

/// Blocks at most.
const MOST: usize = 9;

/// Floating-point operations below which one thread is faster than more.
const SMALL: usize = 1_000_000;

/// That every place is inside of `len` numbers, and that none overlap.
fn check(blocks: &[Block], widths: [usize; FROM], len: usize) {
    assert!(blocks.len() <= MOST);
    let places = |b: &Block| {
        let sum = b.sum.map_or(0..0, |sum| sum..sum + b.rows);
        [b.out..b.out + b.rows * widths[b.from], sum]
    };
    let apart = |a: &Range<usize>, b: &Range<usize>| {
        a.is_empty() || b.is_empty() || a.end <= b.start || b.end <= a.start
    };
    for (i, block) in blocks.iter().enumerate() {
        let [out, sum] = places(block);
        assert!(out.end <= len && sum.end <= len && apart(&out, &sum));
        for other in blocks[..i].iter().flat_map(places) {
            assert!(apart(&other, &out) && apart(&other, &sum));
        }
    }
}

/// Rows that are copied together, so that both sides stay in the cache.
const TOGETHER: usize = 16;

/// Columns of rows on their way into blocks `[block][row][width]`.
struct Copy<'a, F> {
    columns: Range<usize>,
    width: usize,
    to: &'a mut [F],
    /// The sum of every column; empty where it is not wanted.
    sums: &'a mut [F],
}

impl<F: Float> Copy<'_, F> {
    /// Takes the rows from number `first` of `rows` on.
    fn rows(&mut self, from: &[&[F]], first: usize, rows: usize) {
        match self.width {
            6 => self.blocks::<6>(from, first, rows),
            8 => self.blocks::<8>(from, first, rows),
            12 => self.blocks::<12>(from, first, rows),
            16 => self.blocks::<16>(from, first, rows),
            32 => self.blocks::<32>(from, first, rows),
            width => unreachable!("no block of {width} columns"),
        }
        if !self.sums.is_empty() {
            F::dispatch(Sums {
                from,
                first: self.columns.start,
                sums: self.sums,
            });
        }
    }

    fn blocks<const WIDTH: usize>(&mut self, from: &[&[F]], first: usize, rows: usize) {
        let blocks = self.to.chunks_exact_mut((rows * WIDTH).max(1));
        for (block, to) in blocks.enumerate() {
            let start = self.columns.start + block * WIDTH;
            let count = WIDTH.min(self.columns.end - start);
            let to = to[first * WIDTH..].chunks_exact_mut(WIDTH);
            for (to, from) in to.zip(from) {
                let from = &from[start..start + count];
                match <&[F; WIDTH]>::try_from(from) {
                    Ok(from) => to.copy_from_slice(from),
                    Err(_) => {
                        to[..count].copy_from_slice(from);
                        to[count..].fill(F::zero());
                    }
                }
            }
        }
    }
}

/// Adds numbers `first..` of rows to `sums`.
struct Sums<'a, F> {
    from: &'a [&'a [F]],
    first: usize,
    sums: &'a mut [F],
}

impl<F: Float> Task<F> for Sums<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes<F>>(self) {
        for at in (0..self.sums.len()).step_by(V::N) {
            let count = V::N.min(self.sums.len() - at);
            let mut sum: V = load(self.sums, at, count);
            for from in self.from {
                sum = sum + load(from, self.first + at, count);
            }
            store(sum, self.sums, at, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(i: usize, seed: usize) -> f64 {
        ((i * 37 + seed * 101) % 97) as f64 / 48.0 - 1.0
    }

    /// Two right factors, blocks that share numbers of the left rows, sums: as
    /// the plain loop, and the same bits on any number of threads.
    fn check_sizes<F: Float>(rows: usize, h: usize, widths: [usize; 3]) {
        let numbers = |n, seed| (0..n).map(|i| F::lit(number(i, seed))).collect::<Vec<F>>();
        let a = numbers(rows * 3 * h, 1);
        let right = widths.map(|w| numbers(rows * w, 2 + w));
        let row = |i: usize| {
            let right: [&[F]; 3] = std::array::from_fn(|f| &right[f][i * widths[f]..][..widths[f]]);
            (&a[i * 3 * h..][..3 * h], right)
        };
        let end = h * (2 * widths[0] + widths[1]);
        let block = |first, from, out, sum| Block {
            first,
            rows: h,
            from,
            out,
            sum,
        };
        let blocks = [
            block(0, 0, 0, Some(end)),
            block(2 * h, 0, h * widths[0], Some(end + h)),
            block(2 * h, 1, 2 * h * widths[0], Some(end + 2 * h)),
        ];
        let start = numbers(end + 3 * h, 9);
        let mut plain = start.clone();
        for i in 0..rows {
            let (a, right) = row(i);
            for b in blocks {
                let x = right[b.from];
                for j in 0..h {
                    let a = a[b.first + j];
                    for (k, x) in x.iter().enumerate() {
                        plain[b.out + j * widths[b.from] + k] += a * *x;
                    }
                    plain[b.sum.unwrap() + j] += a;
                }
            }
        }
        let mut first: Option<Vec<F>> = None;
        for threads in [1, 2, 3] {
            let mut out = start.clone();
            let team = Team::new(threads).unwrap();
            Outer::default().add(&team, rows, &row, widths, &blocks, &mut out);
            for (a, b) in out.iter().zip(&plain) {
                let bound = F::epsilon() * F::lit(4.0 * (rows + 1) as f64);
                assert!((*a - *b).abs() <= bound, "{rows} {h} {widths:?}: {a} {b}");
            }
            assert_eq!(first.get_or_insert(out.clone()), &out);
        }
    }

    #[test]
    fn equals_the_plain_loop() {
        for rows in [0, 1, 3, 17, 300] {
            for h in [1, 2, 6, 17, 64] {
                for widths in [[1, 1, 0], [3, 17, 0], [16, 65, 0]] {
                    check_sizes::<f32>(rows, h, widths);
                    check_sizes::<f64>(rows, h, widths);
                }
            }
        }
    }
}
