//! The tensors of the input file, with the axes that an unbatched input lacks,
//! and those of the output file.

use crate::layer::{State, Trace, filled};
use crate::params::Grads;
use crate::weights::{TensorFile, write_tensors};
use crate::{Error, Float, Result};
use ndarray::{Array, Array2, Array3, ArrayD, Axis, Dimension, Ix2, Ix3};

/// The input's tensors.
pub(super) struct Arrays<'a> {
    file: &'a TensorFile<'a>,
    unbatched: bool,
}

/// The longest other axis of an empty input.
const LONGEST_EMPTY: usize = 1 << 16;

/// The output's tensors, by name.
pub(super) type Tensors<F> = Vec<(String, ArrayD<F>)>;

/// The names of the states of recurrent layers, and of their gradients, each
/// layer's after its prefix.
pub(super) fn states(prefixes: &[&str]) -> Vec<String> {
    let names = |prefix: &&str| {
        let prefix = (*prefix).to_owned();
        [("", "h_0"), ("", "c_0"), ("d_", "h_n"), ("d_", "c_n")]
            .map(|(d, name)| format!("{d}{prefix}{name}"))
    };
    prefixes.iter().flat_map(names).collect()
}

/// True of `h_0`, `d_c_n` and so on, also after a prefix or before a slot.
pub(super) fn is_state(name: &str) -> bool {
    let name = slot_of(name).unwrap_or(name);
    ["h_0", "c_0", "h_n", "c_n"]
        .iter()
        .any(|n| name.ends_with(n))
}

/// `h_0` from `h_0.3`, the name of a state in one slot.
fn slot_of(name: &str) -> Option<&str> {
    let (state, slot) = name.rsplit_once('.')?;
    slot.parse::<u32>().is_ok().then_some(state)
}

impl<'a> Arrays<'a> {
    /// The tensors of a file, of which `known` and those of every model have a
    /// meaning; `rank` is that of a batched input.
    pub(super) fn new(file: &'a TensorFile<'a>, rank: usize, known: &[String]) -> Result<Self> {
        let every = ["input", "lengths", "d_output"];
        let is_known = |name: &str| known.iter().any(|k| k == name);
        for name in file.names() {
            let by_slot = slot_of(name).is_some_and(|n| is_known(n) && is_state(n));
            if !every.contains(&name) && !is_known(name) && !by_slot {
                return Err(Error::file(format!(
                    "input: nothing reads the tensor {name}; known are {}, {}",
                    every.join(", "),
                    known.join(", ")
                )));
            }
        }
        match file.shape("input").map(<[usize]>::len) {
            Some(got) if got == rank || got + 1 == rank => Ok(Self {
                file,
                unbatched: got + 1 == rank,
            }),
            Some(got) if rank == 2 => Err(Error::shape(format!(
                "input: expected the indices of an embedding, 1D or 2D, got {got}D tensor instead"
            ))),
            Some(got) => Err(Error::shape(format!(
                "RNN: Expected input to be 2D or 3D, got {got}D tensor instead"
            ))),
            None => Err(Error::file("input: the tensor `input` is missing")),
        }
    }

    /// The indices that an embedding reads, (T, B) or (B, T).
    pub(super) fn indices(&self, batch_axis: usize) -> Result<Array2<i64>> {
        let indices = self.file.get_i64("input").map_err(|e| {
            e.at("input: the first layer is an embedding, which reads int64 indices")
        })?;
        let indices = indices.ok_or_else(|| Error::file("input: the tensor `input` is missing"))?;
        let (shape, unbatched) = (indices.shape().to_vec(), self.unbatched);
        let indices = if unbatched {
            indices.insert_axis(Axis(batch_axis))
        } else {
            indices
        };
        if indices.is_empty() && shape.iter().any(|side| *side > LONGEST_EMPTY) {
            return Err(Error::shape(format!(
                "input: expected indices, got the empty shape {shape:?}"
            )));
        }
        indices
            .into_dimensionality()
            .map_err(|e| Error::shape(format!("input: shape {shape:?}: {e}")))
    }

    /// A tensor with three axes; an unbatched one gets `axis`.
    pub(super) fn array<F: Float>(&self, name: &str, axis: usize) -> Result<Option<Array3<F>>> {
        let Some(mut array) = self.file.get::<F>(name).map_err(|e| e.at("input"))? else {
            return Ok(None);
        };
        let expected = if self.unbatched { 2 } else { 3 };
        if array.ndim() != expected {
            let (kind, rank) = if self.unbatched {
                ("unbatched 2", "2")
            } else {
                ("batched 3", "3")
            };
            return Err(Error::shape(format!(
                "{name}: For {kind}-D input, it should also be {rank}-D but got {}-D tensor",
                array.ndim()
            )));
        }
        if self.unbatched {
            array = array.insert_axis(Axis(axis));
        }
        fixed::<F, Ix3>(name, array).map(Some)
    }

    /// A tensor (B, features), or (features) unbatched.
    pub(super) fn vector<F: Float>(&self, name: &str) -> Result<Option<Array2<F>>> {
        let array = match self.file.get::<F>(name).map_err(|e| e.at("input"))? {
            Some(array) if self.unbatched => Some(array.insert_axis(Axis(0))),
            array => array,
        };
        array.map(|a| fixed::<F, Ix2>(name, a)).transpose()
    }

    /// Back to the rank of the input.
    pub(super) fn out<F: Float>(&self, array: Array3<F>, axis: usize) -> ArrayD<F> {
        if self.unbatched {
            array.index_axis_move(Axis(axis), 0).into_dyn()
        } else {
            array.into_dyn()
        }
    }

    /// (B, O) from (1, B, O), or (O) unbatched.
    pub(super) fn out_row<F: Float>(&self, array: Array3<F>) -> ArrayD<F> {
        let rows = array.index_axis_move(Axis(0), 0);
        if self.unbatched {
            rows.index_axis_move(Axis(0), 0).into_dyn()
        } else {
            rows.into_dyn()
        }
    }

    /// Steps of the input.
    fn steps(&self, batch_axis: usize) -> usize {
        let shape = self.file.shape("input").unwrap_or_default();
        let axis = if self.unbatched { 0 } else { 1 - batch_axis };
        shape.get(axis).copied().unwrap_or_default()
    }

    /// Valid steps of each row.
    pub(super) fn lengths(&self, batch_axis: usize) -> Result<Option<Vec<usize>>> {
        let Some(lengths) = self.file.get_i64("lengths").map_err(|e| e.at("input"))? else {
            return Ok(None);
        };
        if self.unbatched || lengths.ndim() != 1 {
            return Err(Error::shape(format!(
                "lengths: expected one axis and a batched input, got shape {:?}",
                lengths.shape()
            )));
        }
        let steps = self.steps(batch_axis);
        let of = |(row, length): (usize, &i64)| {
            usize::try_from(*length).map_err(|_| {
                Error::shape(format!(
                    "lengths: row {row}: expected 0 to {steps} steps, got {length}"
                ))
            })
        };
        lengths
            .iter()
            .enumerate()
            .map(of)
            .collect::<Result<_>>()
            .map(Some)
    }

    /// Fills the parts of a state that the input has, and tells whether there
    /// are any: `d` is empty or `d_`, `before` the layer's prefix, `when` is `0`
    /// or `n`.
    pub(super) fn state<F: Float>(
        &self,
        state: &mut State<F>,
        d: &str,
        before: &str,
        when: &str,
    ) -> Result<bool> {
        let mut found = [false; 2];
        for (part, found) in ["h", "c"].into_iter().zip(&mut found) {
            let name = format!("{d}{before}{part}_{when}");
            if let Some(value) = self.array(&name, 1)? {
                if !state.has(part) {
                    return Err(Error::file(format!(
                        "input: {name}: this cell has no cell state; only an LSTM has"
                    )));
                }
                let expected = state.get(part).map_or(value.dim(), |s| s.dim());
                if !d.is_empty() && expected != value.dim() {
                    return Err(Error::shape(format!(
                        "{name}: expected {expected:?}, got {:?}",
                        value.dim()
                    )));
                }
                let set = state.set(part, value.view());
                set.map_err(|e| if before.is_empty() { e } else { e.at(&name) })?;
                *found = true;
            }
            *found |= self.slots(state, part, &name)?;
        }
        if when == "0" && state.has("c") && found[0] != found[1] {
            let missing = if found[0] { "c" } else { "h" };
            return Err(Error::file(format!(
                "input: an LSTM takes both {before}h_0 and {before}c_0, or neither; {before}{missing}_0 is missing"
            )));
        }
        Ok(found[0] || found[1])
    }

    /// Fills a part of a state that the input has by slots, `h_0.0`, `h_0.1`,
    /// ...: in all of them or in none.
    fn slots<F: Float>(&self, state: &mut State<F>, part: &str, name: &str) -> Result<bool> {
        let names = self.file.names();
        let count = names.iter().filter(|n| slot_of(n) == Some(name)).count();
        if count == 0 {
            return Ok(false);
        }
        if self.file.shape(name).is_some() || count != state.slots() {
            return Err(Error::file(format!(
                "input: {name}: expected one tensor of all layers and directions, or {} from {name}.0 on, got {count} of these",
                state.slots()
            )));
        }
        for slot in 0..state.slots() {
            let name = format!("{name}.{slot}");
            let Some(value) = self.array(&name, 1)? else {
                return Err(Error::file(format!("input: the tensor {name} is missing")));
            };
            if value.len_of(Axis(0)) != 1 {
                return Err(Error::shape(format!(
                    "{name}: expected (1, batch, width), got {:?}",
                    value.dim()
                )));
            }
            state.set_part(slot, part, value.index_axis(Axis(0), 0))?;
        }
        Ok(true)
    }

    pub(super) fn has_gradients(&self) -> bool {
        self.file.names().iter().any(|n| n.starts_with("d_"))
    }

    /// Adds the parts of a state to the output.
    pub(super) fn put_state<F: Float>(
        &self,
        out: &mut Tensors<F>,
        state: &State<F>,
        d: &str,
        before: &str,
        when: &str,
    ) {
        for part in ["h", "c"] {
            let name = format!("{d}{before}{part}_{when}");
            if let Some(value) = state.get(part) {
                out.push((name, self.out(value, 1)));
                continue;
            }
            // Layers of several widths have no array in common.
            for slot in 0..state.slots() {
                if let Some(value) = state.part(slot, part) {
                    let value = self.out(value.insert_axis(Axis(0)), 1);
                    out.push((format!("{name}.{slot}"), value));
                }
            }
        }
    }

    pub(super) fn input<F: Float>(&self, batch_axis: usize) -> Result<Array3<F>> {
        let input: Array3<F> = self
            .array("input", batch_axis)?
            .ok_or_else(|| Error::file("input: the tensor `input` is missing"))?;
        // A file need not hold what an empty array multiplies its other axes
        // into.
        let (a, b, features) = input.dim();
        if features == 0 || input.is_empty() && a.max(b) > LONGEST_EMPTY {
            return Err(Error::shape(format!(
                "input: expected numbers, got the empty shape {:?}",
                input.shape()
            )));
        }
        Ok(input)
    }

    pub(super) fn put_trace<F: Float>(
        &self,
        out: &mut Tensors<F>,
        before: &str,
        traces: Vec<Trace<F>>,
        batch_axis: usize,
    ) {
        // An RNN's pre-activation `a` and what an LSTM projects, `m`, are
        // neither state nor gate.
        let inner = ["a", "m"];
        for trace in traces {
            if inner.contains(&trace.name) {
                continue;
            }
            let direction = if trace.reverse { "_reverse" } else { "" };
            let name = format!("trace.{before}l{}{direction}.{}", trace.layer, trace.name);
            out.push((name, self.out(trace.values, batch_axis)));
        }
    }
}

fn fixed<F: Float, D: Dimension>(name: &str, array: ArrayD<F>) -> Result<Array<F, D>> {
    let shape = array.shape().to_vec();
    array
        .into_dimensionality::<D>()
        .map_err(|e| Error::shape(format!("{name}: shape {shape:?}: {e}")))
}

/// The mend where states and lengths have as many rows as the input has in its
/// other order of axes: nothing where they do not tell. `rank` is that of a
/// batched input; `features` is what the model reads.
pub(super) fn other_order(
    input: &TensorFile<'_>,
    rank: usize,
    features: Option<usize>,
    batch_first: bool,
) -> &'static str {
    let Some([first, second, rest @ ..]) = input.shape("input") else {
        return "";
    };
    let batched = rest.len() + 2 == rank;
    let reads = features.is_none_or(|n| rest == [n]);
    let (batch, other) = if batch_first {
        (first, second)
    } else {
        (second, first)
    };
    let rows = |name: &str| match input.shape(name) {
        Some([rows]) if name == "lengths" => Some(*rows),
        Some([_, rows, _]) if is_state(name) => Some(*rows),
        _ => None,
    };
    let mut rows = input.names().into_iter().filter_map(rows).peekable();
    let told = rows.peek().is_some() && rows.all(|n| n == *other);
    match (batched && reads && batch != other && told, batch_first) {
        (false, _) => "",
        (true, false) => "; it fits with --batch-first",
        (true, true) => "; it fits without --batch-first",
    }
}

/// Zeros, where there is memory for them.
pub(super) fn zeros<F: Float>(dim: (usize, usize, usize)) -> Result<Array3<F>> {
    filled(dim, false, F::zero()).map_err(|e| e.at("output"))
}

/// Adds gradients to the output, by the names that parameters have in the file.
pub(super) fn put_grads<F: Float>(out: &mut Tensors<F>, prefix: &str, grads: &Grads<F>) {
    for entry in grads.layout().entries() {
        if let Some(grad) = grads.get(&entry.name) {
            out.push((format!("d_{prefix}{}", entry.name), grad.to_owned()));
        }
    }
}

pub(super) fn write<F: Float>(out: Tensors<F>) -> Result<Vec<u8>> {
    write_tensors(
        out.iter().map(|(name, array)| (name.clone(), array.view())),
        None,
    )
}
