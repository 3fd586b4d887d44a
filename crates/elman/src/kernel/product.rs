//! Products of many rows with a packed matrix: `out = begin + a b`.
//!
//! A tile is some rows times one panel; its sums stay in registers over a block
//! of `K`. All gates of the same units end up in registers together, where
//! [`Ends::end`] can go on with them.
//!
//! Every sum is one chain in the order of `k`, whatever the tile: a row has the
//! same bits in any batch.

use super::compact::{self, Panels};
use super::dispatch::Task;
use super::ends::{Ends, InPlace, Scaled};
use super::factor::{Factor, Left};
use super::lanes::Lanes;
use super::packed::{Matrix, Packed, PackedLeft, reach};
use super::part::{PartOf, Tiles, WIDENED};
use super::parts::{Parts, share};
use super::team::Team;
use super::tile::{Product, SUMS, Start, Tile, tile_rows, tile_sums};
use crate::Float;
use crate::float::Apart;
use crate::params::Storage;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Bytes of a panel that one block of `K` may have, so that it stays in the
/// first-level cache while the rows go by; twice as many with AVX-512, whose
/// second-level caches give what the first does not hold.
pub(super) const BLOCK_BYTES: usize = 16 << 10;

/// Bytes of the panels of a step that need not be divided into blocks.
const WHOLE_BYTES: usize = 24 << 10;

/// Tiles that whole panels go past at a time.
const WHOLE_TILES: usize = 8;

/// A product whose sums are in memory.
pub type ProductInPlace<'a, F> = Rows<'a, F, InPlace<'a, F>>;
/// The same, with a mask.
pub type ProductScaled<'a, F> = Rows<'a, F, Scaled<'a, F>>;

/// `out (n, m) += a (n, k) b (k, m)`; rows of `out` lie `out_stride` apart, the
/// groups of `b` one after the other.
///
/// # Panics
/// Where the shapes do not fit: a mistake of the caller, not of the input.
pub fn product<F: Float>(a: Matrix<'_, F>, b: &Packed<F>, out: &mut [F], out_stride: usize) {
    product_from(None, Factor::of(a, b), out, out_stride, &Team::alone());
}

/// Floating-point operations from which on a product is worth dividing among
/// threads.
pub(super) const LARGE: usize = 200_000;

/// The same where rows are divided: they come from the caches of one thread to
/// those of the others.
const LARGE_ROWS: usize = 2_000_000;

/// Rows that each thread has at the least where rows are divided, and not
/// columns.
const ROWS: usize = 12;

/// `out = start + a b`, with `start` (m) the same for every row; `None` is what
/// `out` holds. The threads of the team divide the rows or, where these are few,
/// the columns.
///
/// # Panics
/// As [`product`].
pub fn product_from<F: Float>(
    start: Option<&[F]>,
    factor: Factor<'_, F>,
    out: &mut [F],
    out_stride: usize,
    team: &Team,
) {
    let Factor { a, b, .. } = factor;
    let width = b.groups * b.cols;
    if a.rows == 0 || width == 0 {
        return;
    }
    assert!(factor.first == 0 && out_stride >= width);
    assert!(out.len() >= reach(a.rows, out_stride, width));
    let by_rows = a.rows >= ROWS * team.threads();
    let large = if by_rows { LARGE_ROWS } else { LARGE };
    let jobs = match factor.flop() < large {
        true => 1,
        false => team.threads(),
    };
    let out = Parts::new(out);
    team.run(jobs, |job| {
        let (rows, panels) = match by_rows {
            true => (share(a.rows, jobs, job), 0..b.panels()),
            false => (0..a.rows, share(b.panels(), jobs, job)),
        };
        F::product_in_place(Rows {
            before: None,
            factor: factor.rows(rows.clone()),
            sums: b.vectors(),
            panels,
            ends: InPlace {
                out: &out,
                first: rows.start,
                rows: rows.len(),
                stride: out_stride,
                cols: b.cols,
                groups: b.groups,
                start,
            },
        });
    });
}

/// `out += (a b) * mask`, with `mask` (n, m) number by number.
///
/// # Panics
/// As [`product`].
pub fn product_scaled<F: Float>(
    a: Matrix<'_, F>,
    b: &Packed<F>,
    mask: &[F],
    out: &mut [F],
    out_stride: usize,
) {
    if a.rows == 0 || b.cols == 0 {
        return;
    }
    assert!(b.groups == 1 && mask.len() >= a.rows * b.cols);
    assert!(out_stride >= b.cols && out.len() >= reach(a.rows, out_stride, b.cols));
    F::product_scaled(Rows {
        before: None,
        factor: Factor::of(a, b),
        sums: b.vectors(),
        panels: 0..b.panels(),
        ends: Scaled {
            out: InPlace {
                out: &Parts::new(out),
                first: 0,
                rows: a.rows,
                stride: out_stride,
                cols: b.cols,
                groups: 1,
                start: None,
            },
            mask,
            mask_stride: b.cols,
        },
    });
}

/// `out += a b` for some of the tiles of `a`.
///
/// # Panics
/// As [`product`].
pub fn product_left<F: Float>(
    a: &PackedLeft<F>,
    tiles: Range<usize>,
    b: &Packed<F>,
    out: &mut [F],
    out_stride: usize,
) {
    let tile = a.tile();
    let first = tiles.start * tile;
    let rows = a.rows.min(tiles.end * tile).saturating_sub(first);
    if rows == 0 || a.cols == 0 || b.cols == 0 {
        return;
    }
    assert!(b.groups == 1 && out_stride >= b.cols);
    assert!(out.len() >= reach(rows, out_stride, b.cols));
    F::product_in_place(Rows {
        before: None,
        factor: Factor {
            a: Left {
                data: &a.data[first * a.cols..],
                rows,
                cols: a.cols,
                row_stride: 1,
                col_stride: tile,
                tiled: true,
            },
            b,
            first: 0,
            whole: None,
        },
        sums: b.vectors(),
        panels: 0..b.panels(),
        ends: InPlace {
            out: &Parts::new(out),
            first: 0,
            rows,
            stride: out_stride,
            cols: b.cols,
            groups: 1,
            start: None,
        },
    });
}

/// `a b`, and, where there is one, `before` first, into the same `sums` of every
/// column of a group, between ends of the caller's; of some panels.
///
/// # Panics
/// Where the shapes do not fit: a mistake of the caller, not of the input.
#[inline(always)]
pub fn products_between<F: Float, E: Ends<F>, V: Lanes<F>>(
    before: Option<Factor<'_, F>>,
    factor: Factor<'_, F>,
    sums: usize,
    panels: Range<usize>,
    ends: E,
) {
    let sums = sums * factor.b.repeats;
    assert!(panels.end <= factor.b.panels());
    let rows = Rows {
        before,
        factor,
        sums,
        panels,
        ends,
    };
    rows.run::<V>();
}

/// A product on its way from and to its ends.
pub struct Rows<'a, F, E> {
    before: Option<Factor<'a, F>>,
    factor: Factor<'a, F>,
    /// Vectors of sums of a row and a panel.
    sums: usize,
    panels: Range<usize>,
    ends: E,
}

impl<F: Float, E: Ends<F>> Task<F> for Rows<'_, F, E> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes<F>>(self) {
        let (before, factor) = (self.before, self.factor);
        for f in before.iter().chain([&factor]) {
            assert_eq!(f.a.cols, f.b.rows, "inner sizes of a product differ");
            let vectors = f.first + f.b.vectors();
            assert!(vectors <= self.sums && f.a.rows == factor.a.rows);
            assert!(f.b.width() == factor.b.width() && f.b.cols == factor.b.cols);
            if let Panels::Int8(_) = f.b.data {
                let (rows, cols) = f.whole.map_or((0, 0), |(whole, first)| {
                    let (rows, cols) = whole.dim();
                    (rows - first, cols)
                });
                assert!(rows >= f.a.rows && cols >= f.a.cols, "no whole numbers");
            }
            let full = matches!(f.b.data, Panels::Full(_));
            assert!(full || (!f.a.tiled && f.a.col_stride == 1));
            assert_eq!(f.b.lanes, V::N, "panels of other vectors");
            #[cfg(debug_assertions)]
            super::count::product();
        }
        assert!(E::VECTORS.is_none_or(|vectors| vectors == self.sums));
        let rows = factor.a.rows;
        let (full, vectors) = before.iter().fold(
            (factor.is_full(), factor.b.vectors()),
            |(full, vectors), f| (full && f.is_full(), vectors.max(f.b.vectors())),
        );
        if rows == 0 {
            return;
        }
        if full && self.panels.len() == 1 && rows <= tile_rows(vectors, V::REGISTERS) {
            self.single::<V>();
        } else {
            V::apart(Many {
                rows: self,
                vectors,
                vector: PhantomData::<V>,
            });
        }
    }
}

/// A product of many tiles, which takes so much room that a small one is better
/// off without.
struct Many<'a, F, E, V> {
    rows: Rows<'a, F, E>,
    /// Vectors of the larger factor's panels.
    vectors: usize,
    vector: PhantomData<V>,
}

impl<F: Float, E: Ends<F>, V: Lanes<F>> Apart for Many<'_, F, E, V> {
    #[inline(always)]
    fn run(self) {
        self.rows.many::<V>(self.vectors);
    }
}

/// Writes zeros to all.
#[inline(always)]
fn fill<F, V: Lanes<F>>(room: &mut [MaybeUninit<V>]) -> &mut [V] {
    for sum in &mut *room {
        sum.write(V::lit(0.0));
    }
    // SAFETY: all of them have been written.
    unsafe { &mut *(std::ptr::from_mut(room) as *mut [V]) }
}

impl<F: Float, E: Ends<F>> Rows<'_, F, E> {
    /// Rows that are one tile, times one panel.
    #[inline(always)]
    fn single<V: Lanes<F>>(&self) {
        let (rows, panels) = (0..self.factor.a.rows, &self.panels);
        let mut room = [const { MaybeUninit::<V>::uninit() }; SUMS];
        let sums = fill(&mut room[..tile_sums(V::REGISTERS)]);
        self.begin(rows.clone(), panels, sums);
        for factor in self.before.iter().chain([&self.factor]) {
            if let Some(product) = factor.past(panels) {
                V::apart(Tile {
                    products: &[product],
                    start: None,
                    shape: (factor.b.vectors(), rows.len(), 1),
                    sums: &mut *sums,
                    first: factor.first,
                    stride: self.vectors(),
                    next: &[],
                });
            }
        }
        self.end(rows, panels, sums);
    }

    /// Any rows and panels.
    #[inline(always)]
    fn many<V: Lanes<F>>(&self, vectors: usize) {
        let (before, factor) = (self.before, self.factor);
        let (rows, first) = (factor.a.rows, before.unwrap_or(factor));
        let bytes = before.map_or(0, |f| f.bytes()) + factor.bytes();
        let widens = rows > WIDENED && factor.b.storage() == Storage::Bf16;
        // More panels at a time where there are too few rows to keep eight
        // chains of sums going.
        let most = match (vectors, rows) {
            _ if first.b.vectors() != factor.b.vectors() => 1,
            (2, 1) => 4,
            (3, 1) => 3,
            (2, 2..=3) | (3, 2) | (4, 1) => 2,
            _ => 1,
        };
        let tile = match factor.b.storage() {
            Storage::Int8 => compact::tile_rows(vectors),
            _ => tile_rows(vectors, V::REGISTERS),
        };
        let count = rows.div_ceil(tile);
        let tiles = match factor.a.tiled {
            // Tiles of about the same size: a small one has too few chains.
            false => Tiles {
                all: rows,
                rows: rows / count,
                larger: rows % count,
            },
            true => Tiles {
                all: rows,
                rows: tile,
                larger: 0,
            },
        };
        let Range {
            start: panel,
            end: panels,
        } = self.panels.clone();
        // A panel that is too large goes by in blocks, each of them past many
        // rows; one that is to be widened does so too.
        let whole = bytes <= WHOLE_BYTES && !widens;
        // As deep with vectors twice as long.
        let block = BLOCK_BYTES * V::REGISTERS / 16;
        let depth = block / (vectors * size_of::<V>());
        let ends = rows * self.panels.len() * vectors * size_of::<V>();
        let far = self.ends.far(ends);
        let mut room = [const { MaybeUninit::<V>::uninit() }; ROOM];
        let sums = tile_sums(V::REGISTERS);
        let each = count.min(if whole { WHOLE_TILES } else { ROOM / sums });
        // No more than is needed: that takes longer than a small product.
        let needed = match rows {
            1 => (self.panels.len().next_multiple_of(most) * self.vectors()).min(8 * sums),
            _ => each * sums,
        };
        let room = fill(&mut room[..needed]);
        // A single row has room for the sums of many panels.
        let wide = match rows {
            1 if !widens => most * (room.len() / (most * self.vectors())).max(1),
            _ => most,
        };
        let backward = self.ends.backward();
        let passes = (panels - panel).div_ceil(wide);
        for i in 0..passes {
            let first = panel + wide * if backward { passes - 1 - i } else { i };
            let at = first..panels.min(first + wide);
            let pass = Pass::of::<E, V>(self, &at, most, whole || most > 1);
            for first in (0..count).step_by(each) {
                let group = first..count.min(first + each);
                if far {
                    self.soon::<V>(tiles.of(&group), &at);
                }
                self.group::<V>(&pass, &tiles, group, depth, room);
            }
        }
    }

    /// Some tiles times some panels. The sums of all wait in the first-level
    /// cache until the ends take them at once: what follows each other there is
    /// of different rows, so that much of it is done at the same time.
    #[inline(always)]
    fn group<V: Lanes<F>>(
        &self,
        pass: &Pass<'_, F>,
        tiles: &Tiles,
        group: Range<usize>,
        depth: usize,
        room: &mut [V],
    ) {
        let (panels, vectors) = (pass.panels, self.vectors());
        let stride = panels.len() * vectors;
        let rows = tiles.of(&group);
        if pass.start.is_none() {
            self.begin(rows.clone(), panels, room);
        }
        for (some, at) in pass.together() {
            let room = &mut room[at * vectors..];
            let Some((mut first, mut second)) = pass.whole else {
                for factor in pass.factors() {
                    let part = PartOf {
                        factor,
                        tiles,
                        panels: &some,
                        group: group.clone(),
                        stride: vectors,
                    };
                    part.add(depth, room);
                }
                continue;
            };
            first.b = &first.b[at * first.panel_stride..];
            second.b = &second.b[at * second.panel_stride..];
            let start = pass.start.map(|start| start.from(at));
            for tile in group.clone() {
                let here = tiles.rows(tile);
                first.a = pass.factors[0].a.from(here.start);
                second.a = pass.factors[1].a.from(here.start);
                V::apart(Tile {
                    products: &[first, second][2 - pass.used..],
                    start,
                    shape: (self.factor.b.vectors(), here.len(), some.len()),
                    sums: &mut room[(here.start - rows.start) * stride..],
                    first: self.factor.first,
                    stride: vectors,
                    next: &[],
                });
            }
        }
        self.end(rows, panels, room);
    }

    /// Vectors of sums of a row and a panel.
    #[inline(always)]
    fn vectors(&self) -> usize {
        E::VECTORS.unwrap_or(self.sums)
    }

    /// What all rows begin with, where it is the same for them and the panels are
    /// whole.
    #[inline(always)]
    fn start<V: Lanes<F>>(&self, panels: &Range<usize>) -> Option<Start<'_, F>> {
        let b = self.factor.b;
        let width = b.width();
        if panels.end * width > b.cols {
            return None;
        }
        let (from, vectors) = self.ends.start::<V>(panels.start * width)?;
        Some(Start {
            from,
            vectors,
            panels: width,
        })
    }

    /// Says that the ends of a tile are near.
    #[inline(always)]
    fn soon<V: Lanes<F>>(&self, rows: Range<usize>, panels: &Range<usize>) {
        let (col, width) = self.columns(panels);
        for row in rows {
            self.ends.soon::<V>(row, col, width);
        }
    }

    /// Fills the sums of a tile.
    #[inline(always)]
    fn begin<V: Lanes<F>>(&self, rows: Range<usize>, panels: &Range<usize>, sums: &mut [V]) {
        let count = self.vectors();
        let stride = panels.len() * count;
        (self.ends).begin(rows, self.columns(panels), sums, (count, stride));
    }

    /// Hands over the sums of a tile.
    #[inline(always)]
    fn end<V: Lanes<F>>(&self, rows: Range<usize>, panels: &Range<usize>, sums: &mut [V]) {
        let count = self.vectors();
        let stride = panels.len() * count;
        (self.ends).end(rows, self.columns(panels), sums, (count, stride));
    }

    /// The first column of some panels in every group, and how many exist.
    #[inline(always)]
    fn columns(&self, panels: &Range<usize>) -> (usize, usize) {
        let (cols, width) = (self.factor.b.cols, self.factor.b.width());
        let first = panels.start * width;
        (first, (panels.len() * width).min(cols - first))
    }
}

/// How some panels go past the rows.
struct Pass<'a, F> {
    panels: &'a Range<usize>,
    /// Panels of a tile, where there are as many left; of more than a tile has,
    /// there is only one row.
    most: usize,
    /// Whether the last ones go first.
    backward: bool,
    /// The last `used` are multiplied.
    factors: [Factor<'a, F>; 2],
    used: usize,
    /// All of both, where they go by whole and one after the other while the sums
    /// are in the registers.
    whole: Option<(Product<'a, F>, Product<'a, F>)>,
    /// What the sums begin with then.
    start: Option<Start<'a, F>>,
}

impl<'a, F: Float> Pass<'a, F> {
    #[inline(always)]
    fn of<E: Ends<F>, V: Lanes<F>>(
        rows: &'a Rows<'a, F, E>,
        panels: &'a Range<usize>,
        most: usize,
        whole: bool,
    ) -> Self {
        let last = rows.factor;
        let factors = [rows.before.unwrap_or(last), last];
        let whole = match whole && factors[0].first == last.first {
            true => factors[0].past(panels).zip(last.past(panels)),
            false => None,
        };
        let all = last.first == 0 && last.b.vectors() == rows.vectors();
        Self {
            panels,
            most,
            backward: rows.ends.backward(),
            factors,
            used: if rows.before.is_some() { 2 } else { 1 },
            whole,
            start: match whole {
                Some(_) if all => rows.start::<V>(panels),
                _ => None,
            },
        }
    }
}

impl<'a, F> Pass<'a, F> {
    /// What is multiplied.
    #[inline(always)]
    fn factors(&self) -> &[Factor<'a, F>] {
        &self.factors[2 - self.used..]
    }

    /// The panels that a tile has together, and how many are before them.
    #[inline(always)]
    fn together(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let (all, most, backward) = (self.panels.clone(), self.most, self.backward);
        // Those that are left over go by one by one.
        let (tiles, left) = (all.len() / most, all.len() % most);
        (0..tiles + left).map(move |i| {
            let i = if backward { tiles + left - 1 - i } else { i };
            let (at, count) = match i < tiles {
                true => (i * most, most),
                false => (tiles * most + i - tiles, 1),
            };
            let first = all.start + at;
            (first..first + count, at)
        })
    }
}

/// Vectors of sums of the tiles that one block of a panel goes past: 12 KB, beside
/// it in the first-level cache, or twice that.
const ROOM: usize = 384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::compact::Panels;

    fn numbers<F: Float>(n: usize, seed: usize) -> Vec<F> {
        (0..n)
            .map(|i| F::lit(((i * 37 + seed * 101) % 97) as f64 / 48.0 - 1.0))
            .collect()
    }

    /// Any shape: equal to the plain triple loop, and every row alone has the
    /// same bits as in the batch.
    fn check<F: Float>(n: usize, k: usize, m: usize, groups: usize) {
        let (a, b) = (numbers::<F>(n * k, 1), numbers::<F>(k * m * groups, 2));
        let all = m * groups;
        let (start, row) = (numbers::<F>(n * all, 3), numbers::<F>(all, 4));
        let a_at = Matrix::new(&a, n, k, k);
        let mut packed = Packed::default();
        let blocks = (0..groups).map(|g| Matrix::new(&b[g * m..], k, m, all));
        if k > 0 && m > 0 {
            packed.pack_beside(blocks, true);
        } else {
            packed.pack_beside((0..groups).map(|_| Matrix::new(&b, k, m, m)), true);
        }
        if k > 0 && m > 0 {
            // The same panels from columns that follow themselves in memory.
            let turn = |g: usize| (0..m * k).map(move |i| (i % k) * all + g * m + i / k);
            let turned: Vec<Vec<F>> = (0..groups)
                .map(|g| turn(g).map(|at| b[at]).collect())
                .collect();
            let mut other = Packed::default();
            let blocks = turned.iter().map(|b| Matrix::new(b, m, k, k).t());
            other.pack_beside(blocks, true);
            match (&packed.data, &other.data) {
                (Panels::Full(a), Panels::Full(b)) => assert_eq!(a[..], b[..]),
                _ => unreachable!("both are whole"),
            }
        }
        for from in [None, Some(&row[..])] {
            let mut out = start.clone();
            product_from(
                from,
                Factor::of(a_at, &packed),
                &mut out,
                all,
                &Team::alone(),
            );
            for i in 0..n {
                for j in 0..all {
                    let terms = (0..k).map(|k| a_at.at(i, k) * b[k * all + j]);
                    let first = from.map_or(start[i * all + j], |row| row[j]);
                    let plain = terms.fold(first, |s, t| s + t);
                    let error = (plain - out[i * all + j]).abs();
                    assert!(error <= F::epsilon() * F::lit(4.0 * (k + 1) as f64));
                }
                let mut alone = start[i * all..][..all].to_vec();
                let row = Matrix::new(&a[i * k..], 1, k, k.max(1));
                product_from(
                    from,
                    Factor::of(row, &packed),
                    &mut alone,
                    all,
                    &Team::alone(),
                );
                assert_eq!(alone, out[i * all..][..all], "{n} {k} {m} {groups}");
            }
            if groups > 1 || from.is_some() || n == 0 {
                continue;
            }
            // From tiles, whole and in two parts.
            let mut left = PackedLeft::default();
            left.resize(n, k);
            let tile = left.tile();
            for (at, to) in left.data.iter_mut().enumerate().filter(|_| k > 0) {
                let (row, col) = (at / (tile * k) * tile + at % tile, at / tile % k);
                *to = if row < n { a_at.at(row, col) } else { F::nan() };
            }
            let (tiles, middle) = (left.tiles(), left.tiles() / 2);
            let mut split = start.clone();
            product_left(&left, 0..middle, &packed, &mut split, m);
            let rest = &mut split[middle * tile * m..];
            product_left(&left, middle..tiles, &packed, rest, m);
            assert_eq!(split, out, "{n} {k} {m}");
        }
    }

    #[test]
    fn equals_the_plain_loop() {
        for n in [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 17, 65] {
            for k in [0, 1, 3, 64, 300] {
                for m in [0, 1, 7, 8, 16, 17, 65] {
                    for groups in 1..=4 {
                        check::<f32>(n, k, m, groups);
                        check::<f64>(n, k, m, groups);
                    }
                }
            }
        }
    }
}
