//! `nn.RNN`, `nn.GRU` and `nn.LSTM` as one type that owns its parameters: for
//! people who just want an answer. It allocates; the [`Stack`] inside does not.

use super::{
    PackedSequence, Pass, Stack, StackCache, StackConfig, State, filled, pack_padded_sequence,
    pad_packed_sequence,
};
use crate::cell::{
    AnyCell, Bias, CellConfig, CellKind, CellOptions, Nonlinearity, Sizes, is_default,
};
use crate::params::{Grads, Layout, Params};
use crate::rng::TorchRng;
use crate::{Error, Float, Result};
use ndarray::{Array, Array3, ArrayView, ArrayView3, Axis, Dimension, IntoDimension};
use serde::{Deserialize, Serialize};

/// The options of PyTorch's recurrent layers, under their names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecurrentConfig {
    /// Which layer it is.
    pub cell: CellKind,
    /// `I`, features of an input step.
    pub input_size: usize,
    /// `H`, features of a state.
    pub hidden_size: usize,
    /// Which biases there are; PyTorch has `both` or `none`.
    pub bias: Bias,
    /// The activation; only an RNN may have another than tanh.
    pub nonlinearity: Nonlinearity,
    /// `R`, features of `h` where an LSTM projects it (`h = W_hr m`, `m` the
    /// `H` numbers that `h` is without); 0 for no projection.
    #[serde(default)]
    pub proj_size: usize,
    /// What PyTorch's cells lack.
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: CellOptions,
    /// `H` of every layer, where they differ; empty where all have
    /// `hidden_size`, which the first one has in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden_sizes: Vec<usize>,
    /// Layers, directions, dropout, order of axes.
    pub stack: StackConfig,
}

impl RecurrentConfig {
    /// PyTorch's defaults: one layer, forward, both biases, time first.
    ///
    /// ```
    /// use elman::cell::CellKind;
    /// use elman::layer::RecurrentConfig;
    /// let config = RecurrentConfig::new(CellKind::Gru, 3, 16);
    /// assert_eq!(config.stack.num_layers, 1);
    /// ```
    pub fn new(cell: CellKind, input_size: usize, hidden_size: usize) -> Self {
        Self {
            cell,
            input_size,
            hidden_size,
            bias: Bias::Both,
            nonlinearity: Nonlinearity::Tanh,
            proj_size: 0,
            options: CellOptions::default(),
            hidden_sizes: Vec::new(),
            stack: StackConfig::default(),
        }
    }

    /// What is legal and yet looks like a mistake, in PyTorch's words.
    pub fn warnings(&self) -> Vec<String> {
        self.stack.warnings()
    }

    /// `D * R`, features of the output of the last layer; `R` where the
    /// directions are merged otherwise than side by side.
    pub fn output_size(&self) -> usize {
        let last = self.stack.num_layers.saturating_sub(1);
        let stack = &self.stack;
        stack
            .merge
            .width(self.direction_size(last), stack.num_directions())
    }

    /// `H` of a layer.
    fn hidden_size_of(&self, layer: usize) -> usize {
        let sizes = &self.hidden_sizes;
        sizes.get(layer).copied().unwrap_or(self.hidden_size)
    }

    /// `R` of a layer, features of the output of one direction.
    pub(crate) fn direction_size(&self, layer: usize) -> usize {
        match self.proj_size {
            0 => self.hidden_size_of(layer),
            projected => projected,
        }
    }

    fn check_sizes(&self) -> Result<()> {
        let (sizes, layers) = (&self.hidden_sizes, self.stack.num_layers);
        let Some(first) = sizes.first() else {
            return Ok(());
        };
        if sizes.len() != layers {
            return Err(Error::option(format!(
                "hidden_sizes: expected {layers} entries = num_layers, or none, got {}",
                sizes.len()
            )));
        }
        if *first != self.hidden_size {
            return Err(Error::option(format!(
                "hidden_sizes: the first layer has {first} here and {} in hidden_size; give both the same",
                self.hidden_size
            )));
        }
        Ok(())
    }

    /// The cell of a layer that has these sizes.
    ///
    /// # Errors
    /// As [`CellConfig::validate`].
    pub fn cell(&self, input_size: usize, hidden_size: usize) -> Result<AnyCell> {
        AnyCell::new(&self.cell_config(input_size, hidden_size))
    }

    /// What makes the [`cell`](Self::cell).
    pub fn cell_config(&self, input_size: usize, hidden_size: usize) -> CellConfig {
        CellConfig {
            cell: self.cell,
            sizes: Sizes {
                input_size,
                hidden_size,
                bias: self.bias,
            },
            nonlinearity: self.nonlinearity,
            proj_size: self.proj_size,
            options: self.options.clone(),
        }
    }

    /// Adds the layer's parameters to a layout. `prefix` may be empty.
    ///
    /// # Errors
    /// Where an option is out of its range, or does not fit the cell or another
    /// option, or sizes contradict each other.
    pub fn stack(&self, layout: &mut Layout, prefix: &str) -> Result<Stack<AnyCell>> {
        self.cell_config(self.input_size, self.hidden_size)
            .validate()?;
        self.stack.validate()?;
        self.check_sizes()?;
        let cell = |layer, input_size| {
            AnyCell::checked(self.cell_config(input_size, self.hidden_size_of(layer)))
        };
        Stack::new::<f32>(layout, prefix, self.stack.clone(), self.input_size, cell)
    }
}

/// A recurrent layer with its parameters.
///
/// Inputs are batched, (T, B, I) or with `batch_first` (B, T, I), or unbatched,
/// (T, I); the output has as many axes, (T, B, D*R), (B, T, D*R) or (T, D*R).
///
/// ```
/// use elman::cell::CellKind;
/// use elman::layer::{Recurrent, RecurrentConfig};
/// use elman::ndarray::array;
///
/// let layer = Recurrent::<f64>::new(&RecurrentConfig::new(CellKind::Rnn, 1, 2), 0)?;
/// let input = array![[[0.1]], [[0.2]], [[0.3]]]; // (T, B, I) = (3, 1, 1)
/// let (output, state) = layer.forward(input.view(), None, None)?;
/// assert_eq!(output.dim(), (3, 1, 2)); // (T, B, D * R)
/// assert_eq!(state.get("h").unwrap().dim(), (1, 1, 2)); // (L * D, B, R)
///
/// let input = array![[0.1], [0.2], [0.3]]; // (T, I)
/// let (alone, state) = layer.forward(input.view(), None, None)?;
/// assert_eq!(alone, output.index_axis(elman::ndarray::Axis(1), 0)); // (T, D * R)
/// assert_eq!(state.row("h", 0).unwrap().dim(), (1, 2)); // (L * D, R)
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recurrent<F> {
    cell: CellKind,
    stack: Stack<AnyCell>,
    params: Params<F>,
}

impl<F: Float> Recurrent<F> {
    /// A layer with PyTorch's initial values after `torch.manual_seed(seed)`.
    ///
    /// # Errors
    /// Where an option is out of its range, or memory ends.
    pub fn new(config: &RecurrentConfig, seed: u64) -> Result<Self> {
        let mut layout = Layout::new();
        let stack = config.stack(&mut layout, "")?;
        let mut params = Params::try_zeros(layout.into())?;
        let mut rng = TorchRng::new(seed);
        stack.init(&mut params, &mut |a, b| rng.uniform(a, b));
        Ok(Self {
            cell: config.cell,
            stack,
            params,
        })
    }

    /// A layer with parameters of one's own, named and shaped as PyTorch's.
    ///
    /// # Errors
    /// Where an option is out of its range, or a name or shape differs.
    pub fn with_params(config: &RecurrentConfig, params: Params<F>) -> Result<Self> {
        let mut layout = Layout::new();
        let stack = config.stack(&mut layout, "")?;
        if **params.layout() != layout {
            return Err(Error::shape("the parameters are not those of this layer"));
        }
        Ok(Self {
            cell: config.cell,
            stack,
            params,
        })
    }

    /// The layers.
    pub fn stack(&self) -> &Stack<AnyCell> {
        &self.stack
    }

    /// The parameters, under PyTorch's names.
    pub fn params(&self) -> &Params<F> {
        &self.params
    }

    /// The parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut Params<F> {
        &mut self.params
    }

    /// Reads `input`, returns the output and the final state. `lengths` has the
    /// valid steps of each row; an absent state is zero. Unbatched input has a
    /// state of one row.
    ///
    /// # Errors
    /// Where a shape does not fit, in PyTorch's words.
    pub fn forward<D: Dimension>(
        &self,
        input: ArrayView<'_, F, D>,
        lengths: Option<&[usize]>,
        state: Option<State<F>>,
    ) -> Result<(Array<F, D>, State<F>)> {
        let mut state = match state {
            Some(state) => state,
            None => self.start(&input)?,
        };
        let pass = Pass {
            lengths,
            inference: true,
            ..Pass::default()
        };
        let y = self.run(input, &pass, &mut state, &mut StackCache::default())?;
        Ok((y, state))
    }

    /// As [`forward`](Self::forward), keeping what the backward pass needs.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_with<D: Dimension>(
        &self,
        input: ArrayView<'_, F, D>,
        lengths: Option<&[usize]>,
        state: &mut State<F>,
        cache: &mut StackCache<F>,
    ) -> Result<Array<F, D>> {
        let pass = Pass {
            lengths,
            ..Pass::default()
        };
        self.run(input, &pass, state, cache)
    }

    fn run<D: Dimension>(
        &self,
        input: ArrayView<'_, F, D>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut StackCache<F>,
    ) -> Result<Array<F, D>> {
        let rank = input.ndim();
        if rank == 2 && state.batch() != 1 {
            return Err(Error::shape(format!(
                "For unbatched 2-D input, hx should also be 2-D but got 3-D tensor: the state has {} rows",
                state.batch()
            )));
        }
        let input = self.three(input)?;
        let (a, b, _) = input.dim();
        let mut y = filled((a, b, self.stack.output_size()), false, F::zero())?;
        self.stack
            .forward(&self.params, input, pass, state, cache, y.view_mut())?;
        self.with_rank(y, rank)
    }

    /// As [`forward`](Self::forward) with `lengths`, from packed sequences to a
    /// packed output; states are in the order in which the sequences came.
    ///
    /// # Errors
    /// Where a shape does not fit, in PyTorch's words.
    pub fn forward_packed(
        &self,
        input: &PackedSequence<F>,
        state: Option<State<F>>,
    ) -> Result<(PackedSequence<F>, State<F>)> {
        let batch_first = self.stack.config().batch_first;
        let (padded, lengths) = pad_packed_sequence(input, batch_first, F::zero(), None)?;
        let (output, state) = self.forward(padded.view(), Some(&lengths), state)?;
        let sorted = input.sorted_indices().is_none();
        let output = pack_padded_sequence(output.view(), &lengths, batch_first, sorted)?;
        Ok((output, state))
    }

    /// Gradients after [`forward_with`](Self::forward_with): of the input, and
    /// of the parameters; `d_state` changes from the gradient of the final
    /// state to that of the initial one.
    ///
    /// # Errors
    /// Where a shape does not fit.
    pub fn backward<D: Dimension>(
        &self,
        cache: &mut StackCache<F>,
        d_output: Option<ArrayView<'_, F, D>>,
        d_state: &mut State<F>,
        input_dim: impl IntoDimension<Dim = D>,
    ) -> Result<(Array<F, D>, Grads<F>)> {
        let mut grads = Params::zeros(self.params.layout().clone());
        let input_dim = input_dim.into_dimension();
        let rank = input_dim.ndim();
        let dim = match *input_dim.slice() {
            [a, b] if self.batch_axis() == Axis(0) => (1, a, b),
            [a, b] => (a, 1, b),
            [a, b, c] => (a, b, c),
            _ => return Err(self.wrong_rank(rank)),
        };
        let d_output = d_output.map(|d| self.three(d)).transpose()?;
        let mut dx = filled(dim, false, F::zero())?;
        let (params, view) = (&self.params, Some(dx.view_mut()));
        self.stack
            .backward(params, cache, d_output, d_state, &mut grads, view)?;
        Ok((self.with_rank(dx, rank)?, grads))
    }

    /// A state of zeros for the rows of an input.
    ///
    /// # Errors
    /// Where the input is neither batched nor unbatched.
    pub fn start<D: Dimension>(&self, input: &ArrayView<'_, F, D>) -> Result<State<F>> {
        let input = self.three(input.view())?;
        Ok(self.stack.start(input.len_of(self.batch_axis())))
    }

    fn batch_axis(&self) -> Axis {
        Axis(usize::from(!self.stack.config().batch_first))
    }

    /// With the axis of the batch, which an unbatched array lacks.
    fn three<'a, D: Dimension>(&self, array: ArrayView<'a, F, D>) -> Result<ArrayView3<'a, F>> {
        let array = match array.ndim() {
            2 => array.into_dyn().insert_axis(self.batch_axis()),
            _ => array.into_dyn(),
        };
        let rank = array.ndim();
        array
            .into_dimensionality()
            .map_err(|_| self.wrong_rank(rank))
    }

    /// The way back: with `rank` axes.
    fn with_rank<D: Dimension>(&self, array: Array3<F>, rank: usize) -> Result<Array<F, D>> {
        let array = match rank {
            2 => array.index_axis_move(self.batch_axis(), 0).into_dyn(),
            _ => array.into_dyn(),
        };
        let rank = array.ndim();
        array
            .into_dimensionality()
            .map_err(|_| self.wrong_rank(rank))
    }

    fn wrong_rank(&self, rank: usize) -> Error {
        Error::shape(format!(
            "{}: Expected input to be 2D or 3D, got {rank}D tensor instead",
            self.cell
        ))
    }
}
