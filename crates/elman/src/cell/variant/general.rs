//! All three cells with all options, by their definition, row by row. It runs
//! what the kernels cannot, and is what the variants that they run are held
//! against.
//!
//! ```text
//! u  = W_ih x                         v = W_hh h
//! u  = gain * (u - mean) / sqrt(var + eps) + offset, v alike   (layer_norm)
//! u += b_ih                           v += b_hh
//!
//! RNN   h' = act(u + v)
//! GRU   r  = s(u_r + v_r)             z = s(u_z + v_z)
//!       n  = t(u_n + r * v_n)         h' = (1 - z) * n + z * h
//!       n  = t(u_n + W_hn (r * h) + b_hn)                      (reset_before)
//! LSTM  i  = s(u_i + v_i + w_ci * c)  g = t(u_g + v_g)
//!       f  = s(u_f + v_f + w_cf * c)  or 1 - i                 (coupled)
//!       c' = limited(f * c + i * g)
//!       o  = s(u_o + v_o + w_co * c') h' = o * t(c'), or o * t(norm(c'))
//! ```
//!
//! A row of what is saved holds the named blocks, which are those of the gated
//! cells, and after them what the option needs: `r * h` with `reset_before`;
//! with `layer_norm` of each normalisation its numbers without gain and offset,
//! and `1 / sqrt(var + eps)`.

use crate::Float;
use crate::cell::{
    Activation, Bias, Cell, CellConfig, CellKind, GatedCell, Gru, Part, Rnn, Rows, RowsBack, Side,
};
use crate::float::Scalar;
use std::ops::Range;

/// Any cell with any options.
#[derive(Debug, Clone, PartialEq)]
pub struct General {
    config: CellConfig,
    acts: [Activation; 5],
    places: Places,
}

/// The sides of an LSTM by its gates.
const LSTM: Side = Side {
    first: 0,
    gates: &[0, 1, 2, 3],
};
const COUPLED: Side = Side {
    first: 0,
    gates: &[0, 1, 2],
};

/// The place of the new candidate among the gates of a GRU's state.
const CANDIDATE: usize = 2;

/// Added to a variance, as PyTorch's `LayerNorm` does.
const EPSILON: f64 = 1e-5;

/// Where the parts of weights and of a saved row begin.
#[derive(Debug, Clone, PartialEq)]
struct Places {
    h: usize,
    r: usize,
    /// Numbers in the blocks of the sums, and with `m`.
    sums: usize,
    named: usize,
    input: Product,
    hidden: Product,
    weight_hr: Option<usize>,
    /// Peepholes of i, f and o.
    peepholes: [Option<usize>; 3],
    norm_c: Option<Norm>,
    /// `r * h`, in a saved row.
    reset: usize,
    /// Numbers in a saved row.
    saved: usize,
}

/// `W_ih x` or `W_hh h`: which sums it goes into, and its weights.
#[derive(Debug, Clone, PartialEq)]
struct Product {
    side: Side,
    /// Numbers of a gate, and those that a product reads.
    h: usize,
    k: usize,
    weight: usize,
    bias: Option<usize>,
    norm: Option<Norm>,
}

/// One normalisation of `n` numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Norm {
    n: usize,
    /// The gains in the weights, and after them the offsets.
    gain: usize,
    /// In a saved row: the numbers, and after them the scale.
    kept: usize,
}

impl General {
    /// The cell of a checked configuration.
    pub fn new(config: &CellConfig) -> Self {
        Self {
            config: config.clone(),
            acts: config.activations(),
            places: Places::of(config),
        }
    }
}

/// The sides of the input and of the state.
fn sides(config: &CellConfig) -> [Side; 2] {
    match config.cell {
        CellKind::Rnn => [Rnn::INPUT, Rnn::HIDDEN],
        CellKind::Gru => [Gru::INPUT, Gru::HIDDEN],
        CellKind::Lstm if config.options.coupled => [COUPLED; 2],
        CellKind::Lstm => [LSTM; 2],
    }
}

/// Names of the sums after the update.
fn gate_names(config: &CellConfig) -> &'static [&'static str] {
    match config.cell {
        CellKind::Rnn => Rnn::SAVED,
        CellKind::Gru => Gru::SAVED,
        CellKind::Lstm if config.options.coupled => &["i", "g", "o"],
        CellKind::Lstm => &["i", "f", "g", "o"],
    }
}

/// The parameters in order.
fn params(config: &CellConfig) -> Vec<Part> {
    let CellConfig {
        sizes,
        proj_size,
        options: ref o,
        ..
    } = *config;
    let (i, h, r) = (sizes.input_size, sizes.hidden_size, output(config));
    // A layout refuses what is too large.
    let rows = h.saturating_mul(config.gates());
    let lstm = config.cell == CellKind::Lstm;
    [
        (true, "weight_ih", vec![rows, i]),
        (true, "weight_hh", vec![rows, r]),
        (sizes.bias != Bias::None, "bias_ih", vec![rows]),
        (sizes.bias == Bias::Both, "bias_hh", vec![rows]),
        (proj_size > 0, "weight_hr", vec![r, h]),
        (o.peepholes, "weight_ci", vec![h]),
        (o.peepholes && !o.coupled, "weight_cf", vec![h]),
        (o.peepholes, "weight_co", vec![h]),
        (o.layer_norm, "norm_ih_weight", vec![rows]),
        (o.layer_norm, "norm_ih_bias", vec![rows]),
        (o.layer_norm, "norm_hh_weight", vec![rows]),
        (o.layer_norm, "norm_hh_bias", vec![rows]),
        (o.layer_norm && lstm, "norm_c_weight", vec![h]),
        (o.layer_norm && lstm, "norm_c_bias", vec![h]),
    ]
    .into_iter()
    .filter(|(there, ..)| *there)
    .map(|(_, name, shape)| Part { name, shape })
    .collect()
}

/// `R`, features of the output.
fn output(config: &CellConfig) -> usize {
    match config.proj_size {
        0 => config.sizes.hidden_size,
        projected => projected,
    }
}

impl Places {
    /// Sizes that a layout refuses end at the largest number.
    fn of(config: &CellConfig) -> Self {
        let (h, r) = (config.sizes.hidden_size, output(config));
        let parts = params(config);
        let find = |wanted: &str| {
            let before = parts.iter().take_while(|part| part.name != wanted);
            let sizes = before.map(|p| p.shape.iter().fold(1, |n: usize, k| n.saturating_mul(*k)));
            let there = parts.iter().any(|part| part.name == wanted);
            there.then(|| sizes.fold(0, usize::saturating_add))
        };
        let sums = h.saturating_mul(gate_names(config).len());
        let m = if config.proj_size > 0 { h } else { 0 };
        let named = sums.saturating_add(m);
        let mut saved = named;
        let mut keep = |n: usize| {
            let start = saved;
            saved = saved.saturating_add(n);
            start
        };
        let mut norm = |name: &str, n: usize| {
            find(name).map(|gain| Norm {
                n,
                gain,
                kept: keep(n.saturating_add(1)),
            })
        };
        let gates = h.saturating_mul(config.gates());
        let norm_ih = norm("norm_ih_weight", gates);
        let norm_hh = norm("norm_hh_weight", gates);
        let norm_c = norm("norm_c_weight", h);
        let reset = keep(if config.options.reset_before { h } else { 0 });
        let [input, hidden] = sides(config);
        let product = |side, k, weight, bias, norm| Product {
            side,
            h,
            k,
            weight: find(weight).unwrap_or(0),
            bias: find(bias),
            norm,
        };
        let i = config.sizes.input_size;
        Self {
            h,
            r,
            sums,
            named,
            input: product(input, i, "weight_ih", "bias_ih", norm_ih),
            hidden: product(hidden, r, "weight_hh", "bias_hh", norm_hh),
            weight_hr: find("weight_hr"),
            peepholes: ["weight_ci", "weight_cf", "weight_co"].map(find),
            norm_c,
            reset,
            saved,
        }
    }
}

impl General {
    /// The sums become gates, and the state the new one; `m` is the output
    /// before a projection.
    fn update_lstm<F: Float>(&self, w: &[F], c: &[F], saved: &mut [F], next: &mut [F]) {
        let [act_i, act_f, act_g, act_o, act_c] = self.acts;
        let coupled = self.config.options.coupled;
        let p = &self.places;
        let h = p.h;
        let (h_next, c_next) = next.split_at_mut(p.r);
        for j in 0..h {
            let [i, f, g, o] = gates(coupled, h, j);
            for (gate, act, peephole) in [(i, act_i, 0), (f, act_f, 1)] {
                if coupled && peephole == 1 {
                    continue;
                }
                if let Some(at) = p.peepholes[peephole] {
                    saved[gate] += w[at + j] * c[j];
                }
                saved[gate] = act.value(saved[gate]);
            }
            saved[g] = act_g.value(saved[g]);
            let forget = if coupled {
                F::one() - saved[i]
            } else {
                saved[f]
            };
            c_next[j] = forget * c[j] + saved[i] * saved[g];
            if let Some(clip) = self.config.options.cell_clip {
                let clip: F = Float::lit(clip);
                c_next[j] = Scalar::limited(c_next[j], -clip, clip);
            }
            if let Some(at) = p.peepholes[2] {
                saved[o] += w[at + j] * c_next[j];
            }
            saved[o] = act_o.value(saved[o]);
        }
        if let Some(norm) = p.norm_c {
            let kept = norm.kept(saved);
            kept[..h].copy_from_slice(c_next);
            normalise(kept);
        }
        for j in 0..h {
            let [.., o] = gates(coupled, h, j);
            let seen = p.norm_c.map_or(c_next[j], |norm| norm.of(w, saved, j));
            let m = saved[o] * act_c.value(seen);
            match p.weight_hr {
                Some(_) => saved[p.sums + j] = m,
                None => h_next[j] = m,
            }
        }
        if let Some(start) = p.weight_hr {
            let m = &saved[p.sums..p.named];
            for (k, to) in h_next.iter_mut().enumerate() {
                *to = dot(&w[start + k * h..][..h], m);
            }
        }
    }

    /// From the gradient of the new state those of the sums, in `a`, and the
    /// direct part of that of the old state.
    fn update_lstm_back<F: Float>(
        &self,
        w: &[F],
        a: &mut [F],
        [c, c_next]: [&[F]; 2],
        saved: &[F],
        d_state: &mut [F],
        dw: &mut [F],
    ) {
        let [act_i, act_f, act_g, act_o, act_c] = self.acts;
        let coupled = self.config.options.coupled;
        let p = &self.places;
        let h = p.h;
        let (dh, dc) = d_state.split_at_mut(p.r);
        // The gradient of what a projection reads takes the place of `m`, or of
        // i's sum, which comes later.
        let m_at = if p.weight_hr.is_some() { p.sums } else { 0 };
        match p.weight_hr {
            None => a[m_at..][..h].copy_from_slice(dh),
            Some(start) => {
                a[m_at..][..h].fill(F::zero());
                for (k, dh) in dh.iter().enumerate() {
                    for j in 0..h {
                        let at = start + k * h + j;
                        a[m_at + j] += w[at] * *dh;
                        dw[at] += *dh * saved[p.sums + j];
                    }
                }
            }
        }
        dh.fill(F::zero());
        for j in 0..h {
            let [.., o] = gates(coupled, h, j);
            let seen = p.norm_c.map_or(c_next[j], |norm| norm.of(w, saved, j));
            let (t, dm) = (act_c.value(seen), a[m_at + j]);
            a[o] = act_o.slope(saved[o]) * dm * t;
            let d_seen = dm * saved[o] * act_c.slope(t);
            match p.norm_c {
                None => dc[j] += d_seen,
                Some(norm) => norm.take(w, saved, a, j, d_seen, dw),
            }
        }
        if let Some(norm) = p.norm_c {
            norm.back(saved, a);
            for (dc, d) in dc.iter_mut().zip(norm.kept(a)) {
                *dc += *d;
            }
        }
        for j in 0..h {
            let [i, f, g, o] = gates(coupled, h, j);
            if let Some(at) = p.peepholes[2] {
                dc[j] += w[at + j] * a[o];
                dw[at + j] += a[o] * c_next[j];
            }
            if let Some(clip) = self.config.options.cell_clip
                && c_next[j].abs() >= Float::lit(clip)
            {
                dc[j] = F::zero();
            }
            let d = dc[j];
            a[g] = act_g.slope(saved[g]) * d * saved[i];
            if coupled {
                a[i] = act_i.slope(saved[i]) * d * (saved[g] - c[j]);
                dc[j] = d * (F::one() - saved[i]);
            } else {
                a[i] = act_i.slope(saved[i]) * d * saved[g];
                a[f] = act_f.slope(saved[f]) * d * c[j];
                dc[j] = d * saved[f];
                if let Some(at) = p.peepholes[1] {
                    dc[j] += w[at + j] * a[f];
                    dw[at + j] += a[f] * c[j];
                }
            }
            if let Some(at) = p.peepholes[0] {
                dc[j] += w[at + j] * a[i];
                dw[at + j] += a[i] * c[j];
            }
        }
    }
}

/// The places of i, f, g, o of a unit; a coupled f has none of its own.
fn gates(coupled: bool, h: usize, j: usize) -> [usize; 4] {
    if coupled {
        [j, j, h + j, 2 * h + j]
    } else {
        [j, h + j, 2 * h + j, 3 * h + j]
    }
}

impl Product {
    /// Adds the product, normalised, and the bias to the sums; of the side's
    /// gates those in `part`.
    fn add<F: Float>(&self, part: Range<usize>, w: &[F], x: &[F], saved: &mut [F]) {
        let k = self.k;
        if let Some(norm) = self.norm {
            let kept = norm.kept(saved);
            for (row, to) in kept[..norm.n].iter_mut().enumerate() {
                *to = dot(&w[self.weight + row * k..][..k], x);
            }
            normalise(kept);
        }
        for (row, sum) in self.rows(part) {
            let product = match self.norm {
                None => dot(&w[self.weight + row * k..][..k], x),
                Some(norm) => norm.of(w, saved, row),
            };
            saved[sum] += product + self.bias.map_or(F::zero(), |at| w[at + row]);
        }
    }

    /// The derivative of [`add`](Self::add), from the gradients of the sums in
    /// `a`: adds to those of the weights.
    fn weights_back<F: Float>(
        &self,
        part: Range<usize>,
        w: &[F],
        x: &[F],
        saved: &[F],
        a: &mut [F],
        dw: &mut [F],
    ) {
        if let Some(norm) = self.norm {
            for (row, sum) in self.rows(part.clone()) {
                norm.take(w, saved, a, row, a[sum], dw);
            }
            norm.back(saved, a);
        }
        for (row, sum) in self.rows(part) {
            if let Some(at) = self.bias {
                dw[at + row] += a[sum];
            }
            let d = self.norm.map_or(a[sum], |norm| a[norm.kept + row]);
            let dw = &mut dw[self.weight + row * self.k..][..self.k];
            for (dw, x) in dw.iter_mut().zip(x) {
                *dw += d * *x;
            }
        }
    }

    /// After [`weights_back`](Self::weights_back): adds to the gradient of what
    /// the product has read, times the mask.
    fn input_back<F: Float>(
        &self,
        part: Range<usize>,
        w: &[F],
        a: &[F],
        d_x: &mut [F],
        mask: Option<&[F]>,
    ) {
        for (row, sum) in self.rows(part) {
            let d = self.norm.map_or(a[sum], |norm| a[norm.kept + row]);
            let w = &w[self.weight + row * self.k..][..self.k];
            for (l, (d_x, w)) in d_x.iter_mut().zip(w).enumerate() {
                *d_x += *w * d * mask.map_or(F::one(), |mask| mask[l]);
            }
        }
    }

    /// The rows of the weight and their sums, of the side's gates those in
    /// `part`.
    fn rows(&self, part: Range<usize>) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (h, side) = (self.h, self.side);
        part.flat_map(move |s| {
            let (row, sum) = (side.gates[s] * h, (side.first + s) * h);
            (0..h).map(move |j| (row + j, sum + j))
        })
    }
}

impl Norm {
    /// Its numbers in a saved row and their scale.
    fn kept<'a, F>(&self, saved: &'a mut [F]) -> &'a mut [F] {
        &mut saved[self.kept..][..=self.n]
    }

    /// Number `j` with gain and offset.
    fn of<F: Float>(&self, w: &[F], saved: &[F], j: usize) -> F {
        w[self.gain + j] * saved[self.kept + j] + w[self.gain + self.n + j]
    }

    /// The derivative of [`of`](Self::of): the gradient of number `j` goes to
    /// gain and offset, and in `a` to the normalised number.
    fn take<F: Float>(&self, w: &[F], saved: &[F], a: &mut [F], j: usize, d: F, dw: &mut [F]) {
        dw[self.gain + j] += d * saved[self.kept + j];
        dw[self.gain + self.n + j] += d;
        a[self.kept + j] = d * w[self.gain + j];
    }

    /// The derivative of [`normalise`], in place: with `y` the numbers and `d`
    /// their gradients, `scale (d - mean(d) - y mean(d y))`.
    fn back<F: Float>(&self, saved: &[F], a: &mut [F]) {
        let (y, scale) = (&saved[self.kept..][..self.n], saved[self.kept + self.n]);
        let d = &mut a[self.kept..][..self.n];
        let n: F = Float::lit(self.n as f64);
        let mean = d.iter().copied().sum::<F>() / n;
        let along = dot(d, y) / n;
        for (d, y) in d.iter_mut().zip(y) {
            *d = scale * (*d - mean - *y * along);
        }
    }
}

/// All but the last number get mean 0 and variance 1, nearly; the last becomes
/// what they were multiplied with.
fn normalise<F: Float>(values: &mut [F]) {
    let Some((scale, values)) = values.split_last_mut() else {
        return;
    };
    let n: F = Float::lit(values.len() as f64);
    let mean = values.iter().copied().sum::<F>() / n;
    values.iter_mut().for_each(|v| *v -= mean);
    let variance = dot(values, values) / n;
    *scale = F::one() / (variance + Float::lit(EPSILON)).sqrt();
    values.iter_mut().for_each(|v| *v *= *scale);
}

fn dot<F: Float>(a: &[F], b: &[F]) -> F {
    a.iter().zip(b).map(|(a, b)| *a * *b).sum()
}

impl<F: Float> Cell<F> for General {
    fn input_size(&self) -> usize {
        self.config.sizes.input_size
    }

    fn hidden_size(&self) -> usize {
        self.config.sizes.hidden_size
    }

    fn proj_size(&self) -> usize {
        self.config.proj_size
    }

    fn takes_mask(&self) -> bool {
        true
    }

    fn states(&self) -> Vec<Part> {
        let (h, r) = (self.places.h, self.places.r);
        let c = (self.config.cell == CellKind::Lstm).then_some(("c", h));
        [("h", r)]
            .into_iter()
            .chain(c)
            .map(|(name, size)| Part {
                name,
                shape: vec![size],
            })
            .collect()
    }

    fn params(&self) -> Vec<Part> {
        params(&self.config)
    }

    fn saved(&self) -> Vec<&'static str> {
        let m = (self.config.proj_size > 0).then_some("m");
        gate_names(&self.config).iter().copied().chain(m).collect()
    }

    fn saved_size(&self) -> usize {
        self.places.saved
    }

    /// As a gated cell; gains are 1 and offsets 0, and draw nothing.
    fn init(&self, weights: &mut [F], uniform: &mut dyn FnMut(f64, f64) -> F) {
        let h = self.config.sizes.hidden_size;
        let s = 1.0 / (h as f64).sqrt();
        let mut start = 0;
        for Part { name, shape } in params(&self.config) {
            let rows = shape[0];
            let part = &mut weights[start..][..shape.iter().product()];
            start += part.len();
            match name.strip_prefix("norm_") {
                Some(name) if name.ends_with("_weight") => part.fill(F::one()),
                Some(_) => part.fill(F::zero()),
                None => part.fill_with(|| uniform(-s, s)),
            }
            if name == "bias_ih" && self.config.sizes.bias == Bias::Single {
                for _ in 0..rows {
                    uniform(-s, s);
                }
            }
        }
    }

    fn step(&self, w: &[F], row: Rows<'_, F>) {
        let p = &self.places;
        let h = p.h;
        let (prev, saved, next) = (row.prev, row.saved, row.next);
        let hidden = &row.hidden[..p.r];
        saved[..p.sums].fill(F::zero());
        p.input.add(0..p.input.side.gates.len(), w, row.x, saved);
        let first = match self.config.options.reset_before {
            true => CANDIDATE,
            false => p.hidden.side.gates.len(),
        };
        p.hidden.add(0..first, w, hidden, saved);
        match self.config.cell {
            CellKind::Rnn => {
                for j in 0..h {
                    next[j] = self.acts[0].value(saved[j]);
                }
            }
            CellKind::Gru => {
                let [act_r, act_z, act_n, ..] = self.acts;
                let [n, r, z, hn] = [0, h, 2 * h, 3 * h];
                for j in 0..h {
                    saved[r + j] = act_r.value(saved[r + j]);
                    saved[z + j] = act_z.value(saved[z + j]);
                }
                if self.config.options.reset_before {
                    for j in 0..h {
                        saved[p.reset + j] = saved[r + j] * hidden[j];
                    }
                    let (saved, reset) = saved.split_at_mut(p.reset);
                    p.hidden.add(CANDIDATE..CANDIDATE + 1, w, reset, saved);
                }
                for j in 0..h {
                    let reset = match self.config.options.reset_before {
                        true => F::one(),
                        false => saved[r + j],
                    };
                    saved[n + j] = act_n.value(saved[n + j] + reset * saved[hn + j]);
                    let z = saved[z + j];
                    next[j] = (F::one() - z) * saved[n + j] + z * prev[j];
                }
            }
            CellKind::Lstm => self.update_lstm(w, &prev[p.r..], saved, next),
        }
    }

    fn step_back(&self, w: &[F], row: RowsBack<'_, F>) {
        let p = &self.places;
        let h = p.h;
        let (saved, a, d_state, dw) = (row.saved, row.d_saved, row.d_state, row.d_weights);
        let hidden = &row.hidden[..p.r];
        let mut last = p.hidden.side.gates.len();
        match self.config.cell {
            CellKind::Rnn => {
                for j in 0..h {
                    a[j] = self.acts[0].slope(row.next[j]) * d_state[j];
                    d_state[j] = F::zero();
                }
            }
            CellKind::Gru => {
                let [act_r, act_z, act_n, ..] = self.acts;
                let [n, r, z, hn] = [0, h, 2 * h, 3 * h];
                for j in 0..h {
                    let d = d_state[j];
                    let z_j = saved[z + j];
                    a[z + j] = act_z.slope(z_j) * d * (row.prev[j] - saved[n + j]);
                    a[n + j] = act_n.slope(saved[n + j]) * d * (F::one() - z_j);
                    d_state[j] = d * z_j;
                }
                if self.config.options.reset_before {
                    a[hn..].fill(F::zero());
                    a.copy_within(n..n + h, hn);
                    let (a_sums, d_reset) = a.split_at_mut(p.reset);
                    let (reset, candidate) = (&saved[p.reset..], CANDIDATE..CANDIDATE + 1);
                    p.hidden
                        .weights_back(candidate.clone(), w, reset, saved, a_sums, dw);
                    p.hidden.input_back(candidate, w, a_sums, d_reset, None);
                    for j in 0..h {
                        let (r_j, d) = (saved[r + j], d_reset[j]);
                        a_sums[r + j] = act_r.slope(r_j) * d * hidden[j];
                        d_state[j] += d * r_j * row.mask.map_or(F::one(), |mask| mask[j]);
                    }
                    last = CANDIDATE;
                } else {
                    for j in 0..h {
                        let (r_j, a_n) = (saved[r + j], a[n + j]);
                        a[r + j] = act_r.slope(r_j) * a_n * saved[hn + j];
                        a[hn + j] = a_n * r_j;
                    }
                }
            }
            CellKind::Lstm => {
                let cs = [&row.prev[p.r..], &row.next[p.r..]];
                self.update_lstm_back(w, a, cs, saved, d_state, dw);
            }
        }
        let all = p.input.side.gates.len();
        p.input.weights_back(0..all, w, row.x, saved, a, dw);
        if let Some(d_x) = row.d_x {
            p.input.input_back(0..all, w, a, d_x, None);
        }
        p.hidden.weights_back(0..last, w, hidden, saved, a, dw);
        let d_h = &mut d_state[..p.r];
        p.hidden.input_back(0..last, w, a, d_h, row.mask);
    }
}
