//! Parameters as one arena: a layout of (name, shape, range) over one slice.
//!
//! Layers own no arrays, only their place in the layout. Gradients and an
//! optimiser's moments have the same layout, so an optimiser step, clipping,
//! averaging and a file are one pass over a slice.

use crate::{Error, Float, Result};
use ndarray::{ArrayView, ArrayViewMut, IxDyn};
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One tensor of a [`Layout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The tensor's name as PyTorch's `state_dict` has it: `rnn.weight_ih_l0`.
    pub name: String,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// Its place in the arena.
    pub range: Range<usize>,
}

/// `rnn.weight_ih_l0`: what stands before a name, with a dot where there is
/// something.
pub(crate) fn named(prefix: &str, name: impl std::fmt::Display) -> String {
    let dot = if prefix.is_empty() { "" } else { "." };
    format!("{prefix}{dot}{name}")
}

/// The most parameters that an allocation of `f64` can hold.
const MOST: usize = isize::MAX as usize / size_of::<f64>();

/// The names, shapes and places of all tensors of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    entries: Vec<Entry>,
}

impl Layout {
    /// An empty layout.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a tensor and returns its place. No memory is taken for it yet.
    ///
    /// # Errors
    /// Where all tensors together would be more than memory can hold; the
    /// layout stays as it was then.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize]) -> Result<Range<usize>> {
        let (name, start) = (name.into(), self.len());
        let size = shape
            .iter()
            .try_fold(1_usize, |n, axis| n.checked_mul(*axis));
        let end = size.and_then(|size| start.checked_add(size));
        let Some(end) = end.filter(|end| *end <= MOST) else {
            return Err(Error::option(format!(
                "{name}: shape {shape:?} after {start} other parameters is more than memory can hold; choose smaller sizes"
            )));
        };
        self.entries.push(Entry {
            name,
            shape: shape.to_vec(),
            range: start..end,
        });
        Ok(start..end)
    }

    /// Lets `build` add tensors, and leaves the layout as it was where it fails.
    pub(crate) fn all_or_none<T>(
        &mut self,
        build: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let before = self.entries.len();
        let built = build(self);
        if built.is_err() {
            self.entries.truncate(before);
        }
        built
    }

    /// Number of parameters in all.
    pub fn len(&self) -> usize {
        self.entries.last().map_or(0, |e| e.range.end)
    }

    /// True where there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tensors in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The tensor of that name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }
}

/// How the kernels keep the weights of recurrent layers in inference.
///
/// A product of few rows takes as long as its weights take to come from memory,
/// so that fewer bytes are faster where weights do not fit the cache. Training
/// reads the parameters themselves, whatever is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// As they are.
    #[default]
    Full,
    /// As the nearest `bfloat16`, in two bytes. The outputs are, bit for bit,
    /// those of weights that were rounded so.
    Bf16,
    /// As whole numbers up to 127 in one byte, with a scale for each row of a
    /// weight (PyTorch's output channel). What is multiplied with them is
    /// rounded as well, each row of it to a scale of its own that is found at
    /// every step; the sums are exact. Where a number of such a row is not
    /// finite, neither is any of its sums.
    Int8,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Full, Self::Bf16, Self::Int8];

    /// The name in lower case: `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

/// The parameters of a network: one slice, laid out by a [`Layout`].
///
/// ```
/// use elman::params::{Layout, Params};
/// let mut layout = Layout::new();
/// layout.push("weight", &[2, 3])?;
/// layout.push("bias", &[2])?;
/// let mut params = Params::<f64>::zeros(layout.into());
/// params.set("bias", &[1.0, 2.0])?;
/// assert_eq!(params.values()[6..], [1.0, 2.0]);
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Params<F> {
    layout: Arc<Layout>,
    values: Vec<F>,
    stamp: u64,
    storage: Storage,
}

/// Gradients have the layout of their parameters, and are always added to.
pub type Grads<F> = Params<F>;

/// Every change of any parameters takes a stamp of its own.
static STAMP: AtomicU64 = AtomicU64::new(1);

/// A stamp that nothing else has: of parameters, or of a changed copy of them.
pub(crate) fn fresh_stamp() -> u64 {
    STAMP.fetch_add(1, Ordering::Relaxed)
}

impl<F: Float> Params<F> {
    /// All zeros.
    pub fn zeros(layout: Arc<Layout>) -> Self {
        Self {
            values: vec![F::zero(); layout.len()],
            layout,
            stamp: fresh_stamp(),
            storage: Storage::Full,
        }
    }

    /// All zeros, for a layout whose sizes came from a file or a flag: where
    /// memory ends, [`zeros`](Self::zeros) ends the program.
    ///
    /// # Errors
    /// Where the system has no memory for so many parameters.
    pub fn try_zeros(layout: Arc<Layout>) -> Result<Self> {
        let mut values = Vec::new();
        if values.try_reserve_exact(layout.len()).is_err() {
            return Err(Error::option(format!(
                "{} parameters of {} bytes are more than memory can hold; choose smaller sizes",
                layout.len(),
                F::BYTES
            )));
        }
        values.resize(layout.len(), F::zero());
        Ok(Self {
            layout,
            values,
            stamp: fresh_stamp(),
            storage: Storage::Full,
        })
    }

    /// Refuses fewer values than up to `end`; `name` says what these are.
    pub(crate) fn check_len(&self, name: &str, end: usize) -> Result<()> {
        let got = self.values.len();
        if end <= got {
            return Ok(());
        }
        Err(Error::shape(format!(
            "{name}: expected at least {end} values, got {got}; were they laid out for another network?"
        )))
    }

    /// The layout.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// All values in the layout's order.
    pub fn values(&self) -> &[F] {
        &self.values
    }

    /// All values, to be changed. Takes a new [`stamp`](Self::stamp).
    pub fn values_mut(&mut self) -> &mut [F] {
        self.stamp = fresh_stamp();
        &mut self.values
    }

    /// A number that changes whenever the values may have changed, and that no
    /// other parameters share unless they are an unchanged clone. Packed copies
    /// of weights are stale when it differs.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// How the kernels keep these weights in inference.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// Has the kernels keep copies of these weights so in inference. The values
    /// stay as they are.
    pub fn set_storage(&mut self, storage: Storage) {
        self.storage = storage;
    }

    /// Sets every value to zero.
    pub fn clear(&mut self) {
        self.values_mut().fill(F::zero());
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<ArrayView<'_, F, IxDyn>> {
        let entry = self.layout.find(name)?;
        ArrayView::from_shape(entry.shape.as_slice(), &self.values[entry.range.clone()]).ok()
    }

    /// The tensor of that name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<ArrayViewMut<'_, F, IxDyn>> {
        let layout = Arc::clone(&self.layout);
        let entry = layout.find(name)?;
        let values = &mut self.values_mut()[entry.range.clone()];
        ArrayViewMut::from_shape(entry.shape.as_slice(), values).ok()
    }

    /// Overwrites the tensor of that name, row-major.
    ///
    /// # Errors
    /// Where there is no such tensor, or `values.len()` is not its size.
    pub fn set(&mut self, name: &str, values: &[F]) -> Result<()> {
        let Some(entry) = self.layout.find(name) else {
            let known: Vec<_> = self.layout.entries.iter().map(|e| &*e.name).collect();
            return Err(Error::option(format!(
                "no parameter is named `{name}`; there are {}",
                known.join(", ")
            )));
        };
        let range = entry.range.clone();
        if values.len() != range.len() {
            return Err(Error::shape(format!(
                "{name}: expected {} values = shape {:?}, got {}",
                range.len(),
                entry.shape,
                values.len()
            )));
        }
        self.values_mut()[range].copy_from_slice(values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_tell_changes() {
        let mut layout = Layout::new();
        layout.push("w", &[3]).unwrap();
        let mut a = Params::<f32>::zeros(layout.into());
        let b = a.clone();
        assert_eq!(a.stamp(), b.stamp());
        a.values_mut()[0] = 1.0;
        assert_ne!(a.stamp(), b.stamp());
    }

    #[test]
    fn sizes_that_no_memory_holds_are_refused() {
        let mut layout = Layout::new();
        layout.push("w", &[3]).unwrap();
        let before = layout.clone();
        for shape in [[1 << 60, 1], [1 << 32, 1 << 32], [usize::MAX, 2]] {
            let e = layout.push("v", &shape).unwrap_err();
            assert!(
                e.is_option() && e.to_string().starts_with("v: shape"),
                "{e}"
            );
            assert_eq!(layout, before);
        }
        assert_eq!(layout.push("v", &[usize::MAX, 0]), Ok(3..3));
    }

    /// A layout may be legal and yet larger than any memory.
    #[test]
    fn memory_that_ends_is_an_error() {
        let mut layout = Layout::new();
        layout.push("w", &[MOST]).unwrap();
        let e = Params::<f64>::try_zeros(layout.into()).unwrap_err();
        assert!(
            e.is_option() && e.to_string().contains("parameters of 8 bytes"),
            "{e}"
        );
        let mut layout = Layout::new();
        layout.push("w", &[3]).unwrap();
        let params = Params::<f32>::try_zeros(layout.into()).unwrap();
        assert_eq!(params.values(), [0.0; 3]);
    }

    #[test]
    fn set_names_what_is_wrong() {
        let mut layout = Layout::new();
        layout.push("w", &[3]).unwrap();
        let mut a = Params::<f32>::zeros(layout.into());
        assert!(a.set("v", &[0.0; 3]).unwrap_err().is_option());
        let e = a.set("w", &[0.0; 2]).unwrap_err();
        assert!(e.is_shape() && e.to_string().contains("expected 3"), "{e}");
    }
}
