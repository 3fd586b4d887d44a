//! Arrays in, arrays out: a recurrent layer or a network from a file, applied
//! to the tensors of another.
//!
//! The model is the `state_dict` of one bare `nn.RNN`, `nn.GRU` or `nn.LSTM`,
//! as safetensors or as `torch.save` wrote it, or a model file of this crate.
//! Half-precision parameters are widened to `f32`. The input is safetensors, or
//! a dict of tensors as `torch.save` wrote it.
//!
//! | tensor in | meaning |
//! |---|---|
//! | `input` | (T, B, I); (B, T, I) with `batch_first`; (T, I) unbatched |
//! | `h_0`, `c_0` | initial state (L*D, B, H), `h_0` (L*D, B, R) under a projection, zero where absent; an LSTM takes both or neither |
//! | `lengths` | int64, valid steps of each row |
//! | `known`, `start`, `skip` | what else a network of a model file reads |
//! | `d_output`, `d_h_n`, `d_c_n` | any of them asks for gradients |
//!
//! | tensor out | meaning |
//! |---|---|
//! | `output`, `h_n`, `c_n` | as PyTorch returns them |
//! | `d_input`, `d_h_0`, `d_c_0`, `d_<parameter>` | gradients |
//! | `trace.l{k}[_reverse].{h,c,i,f,g,o,r,z,n,hn}` | every state and gate, with `trace` |

use crate::cell::{AnyCell, Bias, CellKind, Nonlinearity};
use crate::layer::{Pass, RecurrentConfig, Stack, StackCache, State, filled};
use crate::network::{AnyCache, AnyNetwork, Inputs, Network};
use crate::params::{Grads, Layout, Params};
use crate::weights::{Dtype, METADATA_KEY, Model, TensorFile, write_tensors};
use crate::{Error, Float, Result};
use ndarray::{Array, Array2, Array3, ArrayD, Axis, Dimension, Ix2, Ix3};
use std::collections::HashSet;

/// What the files do not say by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Checked against the cell that names and shapes tell.
    pub cell: Option<CellKind>,
    /// The activation of an RNN, which its weights do not tell; tanh unless
    /// set.
    pub nonlinearity: Option<Nonlinearity>,
    /// The input is (B, T, I).
    pub batch_first: bool,
    /// Return every state and gate.
    pub trace: bool,
}

/// Applies the model to the input, both as the bytes of their files, and
/// returns the bytes of the output file.
///
/// # Errors
/// Where a file is damaged, a tensor is missing, extra or misshapen, number
/// types are mixed, or an option does not go with the model.
pub fn run(model: &[u8], input: &[u8], options: &RunOptions) -> Result<Vec<u8>> {
    let model = TensorFile::read(model)
        .map_err(|e| e.at("model"))?
        .widened();
    let input = TensorFile::read(input).map_err(|e| e.at("input"))?;
    let of_model = model
        .float_dtype(model.names())
        .map_err(|e| e.at("model"))?;
    let numbers = input.names().into_iter().filter(|n| *n != "lengths");
    let of_input = input.float_dtype(numbers).map_err(|e| e.at("input"))?;
    match (of_model, of_input) {
        (Some(Dtype::F32), Some(Dtype::F32)) => run_as::<f32>(&model, &input, options),
        (Some(Dtype::F64), Some(Dtype::F64)) => run_as::<f64>(&model, &input, options),
        (Some(m), Some(i)) => Err(Error::file(format!(
            "the model has {m:?} numbers, the input {i:?}: expected one type throughout; convert one of them"
        ))),
        (None, _) => Err(Error::file("model: the file has no tensors")),
        (_, None) => Err(Error::file("input: the tensor `input` is missing")),
    }
}

/// The configuration of a bare recurrent layer, from the names and shapes of
/// its parameters, and the prefix before the names (`rnn.`).
///
/// # Errors
/// Where a parameter is missing, extra or misshapen, or is one that this crate
/// does not have.
pub fn infer(file: &TensorFile<'_>, options: &RunOptions) -> Result<(RecurrentConfig, String)> {
    let names = file.names();
    let first = "weight_hh_l0";
    let mut starts = names.iter().filter_map(|n| n.strip_suffix(first));
    let Some(prefix) = starts.next() else {
        return Err(Error::file(format!(
            "model: no tensor is named {first}; expected the state_dict of one nn.RNN, nn.GRU or nn.LSTM, got {}",
            list(&names)
        )));
    };
    if starts.next().is_some() {
        return Err(Error::file(format!(
            "model: several tensors are named ..{first}; save one recurrent layer by itself"
        )));
    }
    let matrix = |name: &str| match file.shape(&format!("{prefix}{name}")) {
        Some([rows, cols]) => Ok((*rows, *cols)),
        Some(other) => Err(Error::file(format!(
            "{name}: expected 2 axes, got shape {other:?}"
        ))),
        None => Err(Error::file(format!("{name}: the tensor is missing"))),
    };
    let has = |name: &str| file.shape(&format!("{prefix}{name}")).is_some();
    let (rows, columns) = matrix(first)?;
    let (input_rows, input_size) = matrix("weight_ih_l0")?;
    let (proj_size, hidden_size) = if has("weight_hr_l0") {
        matrix("weight_hr_l0")?
    } else {
        (0, columns)
    };
    let found = CellKind::ALL
        .into_iter()
        .filter(|k| proj_size == 0 || *k == CellKind::Lstm)
        .find(|k| Some(rows) == hidden_size.checked_mul(k.gates()));
    let cell = match (found, options.cell) {
        (Some(found), None) => found,
        (Some(found), Some(asked)) if found == asked => found,
        (found, asked) => {
            let expected = match asked {
                _ if proj_size > 0 => format!(
                    "(4*{hidden_size}, {proj_size}) for a LSTM with proj_size {proj_size}, whose weight_hr_l0 is ({proj_size}, {hidden_size})"
                ),
                Some(asked) => format!(
                    "({}*{hidden_size}, {hidden_size}) for a {asked}",
                    asked.gates()
                ),
                None => "1, 3 or 4 times as many rows as columns (RNN, GRU, LSTM)".to_owned(),
            };
            let suggest = found.map_or(String::new(), |f| format!("; the shape suggests a {f}"));
            return Err(Error::file(format!(
                "{first}: expected {expected}, got ({rows}, {columns}){suggest}"
            )));
        }
    };
    if input_rows != rows {
        return Err(Error::file(format!(
            "weight_ih_l0: expected {rows} rows, as {first} has, got {input_rows}"
        )));
    }
    let mut config = RecurrentConfig::new(cell, input_size, hidden_size);
    config.proj_size = proj_size;
    config.stack.bidirectional = has("weight_hh_l0_reverse");
    config.stack.batch_first = options.batch_first;
    config.stack.num_layers = (1..names.len().max(2))
        .find(|l| !has(&format!("weight_hh_l{l}")))
        .unwrap_or(1);
    config.bias = match (has("bias_ih_l0"), has("bias_hh_l0")) {
        (true, false) => Bias::Single,
        (false, false) => Bias::None,
        _ => Bias::Both,
    };
    config.nonlinearity = options.nonlinearity.unwrap_or_default();
    Ok((config, prefix.to_owned()))
}

/// Parameters by a layout, from a file that has them and nothing else.
fn load<F: Float>(file: &TensorFile<'_>, layout: Layout, prefix: &str) -> Result<Params<F>> {
    let expected: Vec<_> = layout.entries().iter().map(|e| &*e.name).collect();
    let known: HashSet<_> = expected.iter().collect();
    let belongs = |name: &&str| {
        name.strip_prefix(prefix)
            .is_some_and(|n| known.contains(&n))
    };
    if let Some(name) = file.names().into_iter().find(|n| !belongs(n)) {
        return Err(Error::file(format!(
            "model: {name} does not belong to this layer; expected {}",
            list(&expected)
        )));
    }
    // All shapes are checked before memory is taken for the parameters.
    for entry in layout.entries() {
        let name = format!("{prefix}{}", entry.name);
        match file.shape(&name) {
            Some(shape) if shape == entry.shape => {}
            Some(shape) => {
                return Err(Error::file(format!(
                    "model: {name}: expected shape {:?}, got {shape:?}",
                    entry.shape
                )));
            }
            None => return Err(Error::file(format!("model: {name}: the tensor is missing"))),
        }
    }
    let mut params = Params::zeros(layout.into());
    for entry in params.layout().clone().entries() {
        if let Some(values) = file.get::<F>(&format!("{prefix}{}", entry.name))? {
            let places = &mut params.values_mut()[entry.range.clone()];
            places.iter_mut().zip(&values).for_each(|(to, x)| *to = *x);
        }
    }
    Ok(params)
}

fn list(names: &[&str]) -> String {
    const SHOWN: usize = 12;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

fn run_as<F: Float>(
    model: &TensorFile<'_>,
    input: &TensorFile<'_>,
    options: &RunOptions,
) -> Result<Vec<u8>> {
    let run = Run::new(input)?;
    if model.metadata(METADATA_KEY).is_some() {
        run.network::<F>(model, options)
    } else {
        run.layer::<F>(model, options)
    }
}

/// The input's tensors, with the axes that an unbatched input lacks.
struct Run<'a> {
    file: &'a TensorFile<'a>,
    unbatched: bool,
}

/// The tensors that have a meaning.
const KNOWN: [&str; 10] = [
    "input", "h_0", "c_0", "lengths", "known", "start", "skip", "d_output", "d_h_n", "d_c_n",
];

/// The longest other axis of an empty input.
const LONGEST_EMPTY: usize = 1 << 16;

/// The output's tensors, by name.
type Tensors<F> = Vec<(String, ArrayD<F>)>;

impl<'a> Run<'a> {
    fn new(file: &'a TensorFile<'a>) -> Result<Self> {
        for name in file.names() {
            if !KNOWN.contains(&name) {
                return Err(Error::file(format!(
                    "input: nothing reads the tensor {name}; known are {}",
                    KNOWN.join(", ")
                )));
            }
        }
        let rank = file.shape("input").map(<[usize]>::len);
        match rank {
            Some(2 | 3) => Ok(Self {
                file,
                unbatched: rank == Some(2),
            }),
            Some(rank) => Err(Error::shape(format!(
                "RNN: Expected input to be 2D or 3D, got {rank}D tensor instead"
            ))),
            None => Err(Error::file("input: the tensor `input` is missing")),
        }
    }

    /// A tensor with three axes; an unbatched one gets `axis`.
    fn array<F: Float>(&self, name: &str, axis: usize) -> Result<Option<Array3<F>>> {
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
    fn vector<F: Float>(&self, name: &str) -> Result<Option<Array2<F>>> {
        let array = match self.file.get::<F>(name).map_err(|e| e.at("input"))? {
            Some(array) if self.unbatched => Some(array.insert_axis(Axis(0))),
            array => array,
        };
        array.map(|a| fixed::<F, Ix2>(name, a)).transpose()
    }

    /// Back to the rank of the input.
    fn out<F: Float>(&self, array: Array3<F>, axis: usize) -> ArrayD<F> {
        if self.unbatched {
            array.index_axis_move(Axis(axis), 0).into_dyn()
        } else {
            array.into_dyn()
        }
    }

    fn lengths(&self) -> Result<Option<Vec<usize>>> {
        let Some(lengths) = self.file.get_i64("lengths").map_err(|e| e.at("input"))? else {
            return Ok(None);
        };
        if self.unbatched || lengths.ndim() != 1 {
            return Err(Error::shape(format!(
                "lengths: expected one axis and a batched input, got shape {:?}",
                lengths.shape()
            )));
        }
        let of = |(row, length): (usize, &i64)| {
            usize::try_from(*length)
                .map_err(|_| Error::shape(format!("lengths: row {row} is negative: {length}")))
        };
        lengths
            .iter()
            .enumerate()
            .map(of)
            .collect::<Result<_>>()
            .map(Some)
    }

    /// Fills the parts of a state that the input has; `when` is `0` or `n`.
    fn state<F: Float>(&self, state: &mut State<F>, before: &str, when: &str) -> Result<bool> {
        let mut found = [false; 2];
        for (part, found) in ["h", "c"].into_iter().zip(&mut found) {
            let name = format!("{before}{part}_{when}");
            if let Some(value) = self.array(&name, 1)? {
                if !state.has(part) {
                    return Err(Error::file(format!(
                        "input: {name}: this cell has no cell state; only an LSTM has"
                    )));
                }
                state.set(part, value.view())?;
                *found = true;
            }
            for slot in 0..state.slots() {
                let name = format!("{name}.{slot}");
                if let Some(value) = self.array(&name, 1)? {
                    if value.len_of(Axis(0)) != 1 {
                        return Err(Error::shape(format!(
                            "{name}: expected (1, batch, width), got {:?}",
                            value.dim()
                        )));
                    }
                    state.set_part(slot, part, value.index_axis(Axis(0), 0))?;
                    *found = true;
                }
            }
        }
        if when == "0" && state.has("c") && found[0] != found[1] {
            return Err(Error::file(
                "input: an LSTM takes both h_0 and c_0, or neither",
            ));
        }
        Ok(found[0] || found[1])
    }

    fn has_gradients(&self) -> bool {
        ["d_output", "d_h_n", "d_c_n"]
            .iter()
            .any(|n| self.file.shape(n).is_some())
    }

    /// Adds the parts of a state to the output.
    fn put_state<F: Float>(
        &self,
        out: &mut Tensors<F>,
        state: &State<F>,
        before: &str,
        when: &str,
    ) {
        for part in ["h", "c"] {
            let name = format!("{before}{part}_{when}");
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

    /// A bare recurrent layer.
    fn layer<F: Float>(&self, model: &TensorFile<'_>, options: &RunOptions) -> Result<Vec<u8>> {
        for name in ["known", "start", "skip"] {
            if self.file.shape(name).is_some() {
                return Err(Error::file(format!(
                    "input: a bare recurrent layer does not read {name}"
                )));
            }
        }
        let (config, prefix) = infer(model, options)?;
        let mut layout = Layout::new();
        let stack = config.stack(&mut layout, "")?;
        let params = load::<F>(model, layout, &prefix)?;
        let batch_axis = usize::from(!options.batch_first);
        let input = self.input::<F>(batch_axis)?;
        let lengths = self.lengths()?;
        let mut state = stack.start(input.len_of(Axis(batch_axis)));
        self.state(&mut state, "", "0")?;

        let pass = Pass {
            lengths: lengths.as_deref(),
            ..Pass::default()
        };
        let mut cache = StackCache::default();
        let dim = input.dim();
        let mut output = zeros((dim.0, dim.1, stack.output_size()))?;
        let (x, y) = (input.view(), output.view_mut());
        stack.forward(&params, x, &pass, &mut state, &mut cache, y)?;
        let mut out = vec![("output".to_owned(), self.out(output, batch_axis))];
        self.put_state(&mut out, &state, "", "n");
        if options.trace {
            self.put_trace(&mut out, &stack, &cache, batch_axis);
        }
        if self.has_gradients() {
            let d_output = self.array::<F>("d_output", batch_axis)?;
            let mut d_state = stack.start(state.batch());
            self.state(&mut d_state, "d_", "n")?;
            let mut grads = Params::zeros(params.layout().clone());
            let mut d_input = Array3::zeros(dim);
            let dy = d_output.as_ref().map(|a| a.view());
            let dx = Some(d_input.view_mut());
            stack.backward(&params, &mut cache, dy, &mut d_state, &mut grads, dx)?;
            out.push(("d_input".to_owned(), self.out(d_input, batch_axis)));
            self.put_state(&mut out, &d_state, "d_", "0");
            put_grads(&mut out, &grads);
        }
        bytes(out)
    }

    /// A network of a model file.
    fn network<F: Float>(&self, model: &TensorFile<'_>, options: &RunOptions) -> Result<Vec<u8>> {
        let flags = [
            ("--cell", options.cell.is_some()),
            ("--nonlinearity", options.nonlinearity.is_some()),
            ("--batch-first", options.batch_first),
        ];
        if let Some((flag, _)) = flags.iter().find(|(_, set)| *set) {
            return Err(Error::option(format!(
                "{flag}: a model file of elman says it by itself (its arrays are (T, B, ..)); leave the flag out"
            )));
        }
        let model = Model::<F>::from_tensors(model)?;
        let [params] = model.members() else {
            return Err(Error::file(format!(
                "model: the file holds {} networks, an ensemble; one is expected",
                model.members().len()
            )));
        };
        let network = model.network();
        let input = self.input::<F>(1)?;
        let known = self.array::<F>("known", 1)?;
        let start = self.vector::<F>("start")?;
        let skip = self.vector::<F>("skip")?;
        let inputs = Inputs {
            input: input.view(),
            indices: None,
            known: known.as_ref().map(|a| a.view()),
            start: start.as_ref().map(|a| a.view()),
            skip: skip.as_ref().map(|a| a.view()),
            teacher: None,
        };
        let lengths = self.lengths()?;
        let pass = Pass {
            lengths: lengths.as_deref(),
            ..Pass::default()
        };
        let dim = network.output_dim(&inputs)?;
        let mut state = network.start(dim.1);
        self.state(&mut state, "", "0")?;
        let mut cache = AnyCache::Empty;
        let mut output = zeros(dim)?;
        let y = output.view_mut();
        network.forward(params, &inputs, &pass, &mut state, &mut cache, y)?;
        let mut out = vec![("output".to_owned(), self.out(output, 1))];
        self.put_state(&mut out, &state, "", "n");
        if options.trace {
            let (AnyNetwork::Sequence(network), AnyCache::Sequence(cache)) = (network, &cache)
            else {
                return Err(Error::option(
                    "--trace: only networks of one recurrent stack can be traced",
                ));
            };
            self.put_trace(&mut out, network.stack(), cache.stack(), 1);
        }
        if self.has_gradients() {
            let dy = self.array::<F>("d_output", 1)?;
            let dy = dy.unwrap_or_else(|| Array3::zeros(dim));
            let mut d_state = network.start(dim.1);
            self.state(&mut d_state, "d_", "n")?;
            let mut grads = Params::zeros(params.layout().clone());
            let mut d_input = Array3::zeros(input.dim());
            let (dy, dx) = (dy.view(), Some(d_input.view_mut()));
            network.backward(
                params,
                &inputs,
                &mut cache,
                dy,
                &mut d_state,
                &mut grads,
                dx,
            )?;
            out.push(("d_input".to_owned(), self.out(d_input, 1)));
            self.put_state(&mut out, &d_state, "d_", "0");
            put_grads(&mut out, &grads);
        }
        bytes(out)
    }

    fn input<F: Float>(&self, batch_axis: usize) -> Result<Array3<F>> {
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

    fn put_trace<F: Float>(
        &self,
        out: &mut Tensors<F>,
        stack: &Stack<AnyCell>,
        cache: &StackCache<F>,
        batch_axis: usize,
    ) {
        // An RNN's pre-activation `a` and what an LSTM projects, `m`, are
        // neither state nor gate.
        let inner = ["a", "m"];
        for trace in stack.trace(cache) {
            if inner.contains(&trace.name) {
                continue;
            }
            let direction = if trace.reverse { "_reverse" } else { "" };
            let name = format!("trace.l{}{direction}.{}", trace.layer, trace.name);
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

/// Zeros, where there is memory for them.
fn zeros<F: Float>(dim: (usize, usize, usize)) -> Result<Array3<F>> {
    filled(dim, false, F::zero()).map_err(|e| e.at("output"))
}

fn put_grads<F: Float>(out: &mut Tensors<F>, grads: &Grads<F>) {
    for entry in grads.layout().entries() {
        if let Some(grad) = grads.get(&entry.name) {
            out.push((format!("d_{}", entry.name), grad.to_owned()));
        }
    }
}

fn bytes<F: Float>(out: Tensors<F>) -> Result<Vec<u8>> {
    write_tensors(
        out.iter().map(|(name, array)| (name.clone(), array.view())),
        None,
    )
}
