//! Arrays in, arrays out: a recurrent layer or a network from a file, applied
//! to the tensors of another.
//!
//! The model is the `state_dict` of one bare `nn.RNN`, `nn.GRU` or `nn.LSTM`,
//! as safetensors or as `torch.save` wrote it, of a network whose layers a
//! [`Declaration`] names, or a model file of this crate. Half-precision
//! parameters are widened to `f32`. The input is safetensors, or a dict of
//! tensors as `torch.save` wrote it.
//!
//! | tensor in | meaning |
//! |---|---|
//! | `input` | (T, B, I); (B, T, I) with `batch_first`; (T, I) unbatched |
//! | | before an embedding, int64: (T, B), (B, T) or (T) |
//! | `h_0`, `c_0` | initial state (L*D, B, H), `h_0` (L*D, B, R) under a projection, zero where absent; an LSTM takes both or neither |
//! | `h_0.0`, `h_0.1`, ... | the same by slots (layer and direction), (1, B, H), where the layers have several sizes; so are `c_0`, `d_h_n`, `d_c_n` and what comes out |
//! | `lengths` | int64, valid steps of each row |
//! | `known`, `start`, `skip` | what else a network of a model file reads |
//! | `d_output`, `d_h_n`, `d_c_n` | any of them asks for gradients |
//!
//! | tensor out | meaning |
//! |---|---|
//! | `output`, `h_n`, `c_n` | as PyTorch returns them |
//! | `d_input`, `d_h_0`, `d_c_0`, `d_<parameter>` | gradients, of parameters by their names in the model's file; none of indices |
//! | `trace.l{k}[_reverse].{h,c,i,f,g,o,r,z,n,hn}` | every state and gate, with `trace` |
//!
//! A model file of several networks, as `elman forecast` writes it, gives the
//! mean of their `output`s, and that alone: states, gradients and traces are
//! each network's own, and are refused.
//!
//! Where a declared network has several recurrent layers, the prefix of each
//! stands before the names of its states: `encoder.h_0`, `d_encoder.h_n`,
//! `trace.encoder.l0.h`. Its output is (T, B, O), zero past a row's length, or
//! (B, O) after `last_output` or `last_state`.

mod arrays;
mod declare;
mod probe;

pub use declare::Declaration;
pub use probe::{Probed, probe};

use crate::cell::{Bias, CellKind, Nonlinearity};
use crate::layer::{Pass, RecurrentConfig, StackCache};
use crate::network::{AnyCache, AnyNetwork, Chain, ChainCache, ChainLayer, Inputs, Network};
use crate::params::{Layout, Params, Storage};
use crate::weights::{
    Dtype, FoundLayer, METADATA_KEY, Model, TensorFile, dotted, found_layers, recurrent,
    recurrent_prefixes, with_article,
};
use crate::{Error, Float, Result};
use arrays::{Arrays, Tensors, put_grads, write, zeros};
use ndarray::{Array3, ArrayD, Axis};
use std::collections::HashSet;

/// What the files do not say by themselves.
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// The layers in the model's file, where they are more than one recurrent
    /// layer.
    pub network: Option<Declaration>,
}

/// What [`run`] gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The output file, safetensors.
    pub bytes: Vec<u8>,
    /// What is worth knowing beside it: which part of a checkpoint was read,
    /// options that look like a mistake.
    pub notes: Vec<String>,
}

/// Applies the model to the input, both as the bytes of their files, and
/// returns the bytes of the output file.
///
/// # Errors
/// Where a file is damaged, a tensor is missing, extra or misshapen, number
/// types are mixed, or an option does not go with the model.
pub fn run(model: &[u8], input: &[u8], options: &RunOptions) -> Result<Ran> {
    let model = TensorFile::read(model).map_err(|e| e.at("model"))?;
    let input = TensorFile::read(input).map_err(|e| e.at("input"))?;
    run_files(&model.widened(), &input, options)
}

/// As [`run`], of files that were read before. A model of half-precision
/// numbers has to be [`widened`](TensorFile::widened).
///
/// # Errors
/// As [`run`].
pub fn run_files(
    model: &TensorFile<'_>,
    input: &TensorFile<'_>,
    options: &RunOptions,
) -> Result<Ran> {
    let of_model = model
        .float_dtype(|name| !name.ends_with("num_batches_tracked"))
        .map_err(|e| e.at("model"))?;
    let whole = |name: &str| {
        let stored = input.stored(name).unwrap_or_default();
        name == "input" && stored.starts_with(['I', 'U'])
    };
    let number = |name: &str| name != "lengths" && !whole(name);
    let of_input = input.float_dtype(number).map_err(|e| e.at("input"))?;
    let indices = input.shape("input").is_some().then_some(of_model).flatten();
    let mut ran = match (of_model, of_input.or(indices)) {
        (Some(Dtype::F32), Some(Dtype::F32)) => run_as::<f32>(model, input, options),
        (Some(Dtype::F64), Some(Dtype::F64)) => run_as::<f64>(model, input, options),
        (Some(m), Some(i)) => Err(Error::file(format!(
            "the model has {m:?} numbers, the input {i:?}: expected one type throughout; convert one of them"
        ))),
        (None, _) => Err(Error::file("model: the file has no tensors")),
        (_, None) => Err(Error::file("input: the tensor `input` is missing")),
    }?;
    let gradients = input.names().iter().any(|name| name.starts_with("d_"));
    if model.storage() == Storage::Int8 && (options.trace || gradients) {
        ran.notes.push(
            "model: for traces and gradients its weights of 8 bits are computed with as the numbers that they stand for"
                .to_owned(),
        );
    }
    for (name, file) in [("model", model), ("input", input)] {
        if let Some(place) = file.place() {
            ran.notes.push(format!(
                "{name}: the tensors at `{place}` are read; the rest of the file is passed over"
            ));
        }
    }
    Ok(ran)
}

fn run_as<F: Float>(
    model: &TensorFile<'_>,
    input: &TensorFile<'_>,
    options: &RunOptions,
) -> Result<Ran> {
    let subject = Subject::find(model, options)?;
    let out = match &subject {
        Subject::Layer(config, prefix) => layer::<F>(config, prefix, model, input, options),
        Subject::Model => own::<F>(model, input, options),
        Subject::Chain(network) => {
            let layout = Network::<F>::layout(&**network).clone();
            let declared = options.network.as_ref();
            let params = load::<F>(model, (*layout).clone(), "", |name| {
                undeclared(model, declared, name)
            })?;
            chain(network, &params, input, options)
        }
    };
    let mend = || match &subject {
        Subject::Layer(config, _) => {
            arrays::other_order(input, 3, Some(config.input_size), options.batch_first)
        }
        Subject::Chain(chain) => {
            let rank = if chain.reads_indices() { 2 } else { 3 };
            arrays::other_order(input, rank, None, options.batch_first)
        }
        Subject::Model => "",
    };
    let out = out.map_err(|e| match e {
        e if e.is_shape() => Error::shape(format!("{e}{}", mend())),
        e => e,
    })?;
    Ok(Ran {
        bytes: write(out)?,
        notes: subject.warnings(),
    })
}

/// What a file is run as.
enum Subject {
    /// A bare recurrent layer, and what stands before its parameters' names.
    Layer(Box<RecurrentConfig>, String),
    /// Declared layers.
    Chain(Box<Chain>),
    /// A model file of this crate.
    Model,
}

impl Subject {
    fn find(model: &TensorFile<'_>, options: &RunOptions) -> Result<Self> {
        let flags = [
            ("--cell", options.cell.is_some()),
            ("--nonlinearity", options.nonlinearity.is_some()),
            ("--batch-first", options.batch_first),
            ("--network", options.network.is_some()),
        ];
        let own = model.metadata(METADATA_KEY).is_some();
        if let Some((flag, _)) = flags.iter().find(|(_, set)| own && *set) {
            return Err(Error::option(format!(
                "{flag}: a model file of elman says it by itself (its arrays are (T, B, ..)); leave the flag out"
            )));
        }
        if own {
            return Ok(Self::Model);
        }
        let Some(declared) = &options.network else {
            let (config, prefix) = infer(model, options)?;
            return Ok(Self::Layer(Box::new(config), prefix));
        };
        if let Some((flag, _)) = flags[..2].iter().find(|(_, set)| *set) {
            return Err(Error::option(format!(
                "{flag}: a declared network has it in its file, as the type or the key of the layer; leave the flag out"
            )));
        }
        let config = declared.infer(model).map_err(|e| e.at("model"))?;
        Ok(Self::Chain(Box::new(
            Chain::new(&config).map_err(|e| e.at("model"))?,
        )))
    }

    /// What is legal and yet looks like a mistake.
    fn warnings(&self) -> Vec<String> {
        match self {
            Self::Layer(config, prefix) => of_recurrent(config, prefix),
            Self::Chain(chain) => {
                let layers = chain.config().layers.iter();
                layers
                    .flat_map(|named| match &named.layer {
                        ChainLayer::Recurrent(c) => of_recurrent(c, &dotted(&named.prefix)),
                        _ => Vec::new(),
                    })
                    .collect()
            }
            Self::Model => Vec::new(),
        }
    }
}

/// What is legal in a recurrent layer of a foreign file and yet looks like a
/// mistake.
fn of_recurrent(config: &RecurrentConfig, prefix: &str) -> Vec<String> {
    let mut notes = config.warnings();
    if config.bias == Bias::Single {
        notes.push(format!(
            "model: {prefix}bias_ih_l0 has no bias_hh beside it, which PyTorch does not write; read as a layer with one bias"
        ));
    }
    notes
}

/// The configuration of a bare recurrent layer, from the names and shapes of
/// its parameters, and the prefix before the names (`rnn.`).
///
/// # Errors
/// Where a parameter is missing, extra or misshapen, or is one that this crate
/// does not have.
pub fn infer(file: &TensorFile<'_>, options: &RunOptions) -> Result<(RecurrentConfig, String)> {
    let prefix = match recurrent_prefixes(file)[..] {
        [prefix] => dotted(prefix),
        [] => {
            return Err(Error::file(format!(
                "model: no tensor is named weight_hh_l0, with or without a prefix; expected the state_dict of one nn.RNN, nn.GRU or nn.LSTM, got {}",
                list(&file.names())
            )));
        }
        ref several => {
            let shown = several.iter().map(|prefix| match *prefix {
                "" => "one without a prefix".to_owned(),
                prefix => format!("`{prefix}`"),
            });
            let shown: Vec<_> = shown.collect();
            return Err(Error::file(format!(
                "model: there are {} recurrent layers, {}; {}",
                several.len(),
                list(&shown.iter().map(|s| &**s).collect::<Vec<_>>()),
                declare(&found_layers(file))
            )));
        }
    };
    let mut config = recurrent(file, &prefix, options.cell).map_err(|e| e.at("model"))?;
    if options.nonlinearity.is_some() && config.cell != CellKind::Rnn {
        return Err(Error::option(format!(
            "--nonlinearity: only an RNN has a choice of activation, and the model's {prefix}weight_hh_l0 is that of {}; leave it out",
            with_article(config.cell)
        )));
    }
    config.stack.batch_first = options.batch_first;
    config.nonlinearity = options.nonlinearity.unwrap_or_default();
    Ok((config, prefix))
}

/// The mend where a file has more than one layer.
fn declare(found: &[FoundLayer]) -> String {
    let mend = "to run them, declare all layers in order with --network";
    match found {
        [] => mend.to_owned(),
        found => format!("{mend}, in a file like: {}", declare::on_one_line(found)),
    }
}

/// Why a tensor of a declared network's file is of no layer, and the mend.
fn undeclared(file: &TensorFile<'_>, declared: Option<&Declaration>, name: &str) -> String {
    let (prefix, last) = name.rsplit_once('.').unwrap_or(("", name));
    if ["running_mean", "running_var", "num_batches_tracked"].contains(&last) {
        return BATCH_NORM.to_owned();
    }
    if declared.is_some_and(|d| d.prefixes().any(|p| p == prefix)) {
        return format!("the layer `{prefix}` that is declared has no such parameter");
    }
    let found = found_layers(file);
    let found = found.iter().find(|found| found.prefix == prefix);
    let like = found.map_or(String::new(), |f| {
        format!(", like {}", declare::on_one_line(std::slice::from_ref(f)))
    });
    format!("no declared layer has it; declare a layer with prefix `{prefix}`{like}")
}

const BATCH_NORM: &str = "it is of a batch normalisation, which is not read; fold it into the layer before it, and save the state_dict again";

/// Why a tensor beside a bare layer is refused, and the mend.
fn beside(file: &TensorFile<'_>, prefix: &str, layout: &Layout, name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    if ["running_mean", "running_var", "num_batches_tracked"].contains(&last) {
        return BATCH_NORM.to_owned();
    }
    let found = found_layers(file);
    if found.len() > 1 && !(name.starts_with(prefix) && last.contains("_l")) {
        return format!(
            "it does not belong to the recurrent layer; {}",
            declare(&found)
        );
    }
    let expected: Vec<_> = layout.entries().iter().map(|e| &*e.name).collect();
    format!(
        "it does not belong to this layer; expected {}",
        list(&expected)
    )
}

/// Parameters by a layout, from a file that has them and nothing else; `extra`
/// says what to do about a tensor that is of no layer.
fn load<F: Float>(
    file: &TensorFile<'_>,
    layout: Layout,
    prefix: &str,
    extra: impl Fn(&str) -> String,
) -> Result<Params<F>> {
    let known: HashSet<_> = layout.entries().iter().map(|e| &*e.name).collect();
    let belongs = |name: &&str| name.strip_prefix(prefix).is_some_and(|n| known.contains(n));
    if let Some(name) = file.names().into_iter().find(|n| !belongs(n)) {
        return Err(Error::file(format!("model: {name}: {}", extra(name))));
    }
    // All shapes are checked before memory is taken for the parameters.
    for entry in layout.entries() {
        let name = format!("{prefix}{}", entry.name);
        let expected = &entry.shape;
        match file.shape(&name) {
            Some(shape) if shape == expected => {}
            Some(shape) => {
                let reversed = shape.len() == 2 && shape.iter().rev().eq(expected);
                let mend = if reversed {
                    crate::weights::TRANSPOSED
                } else {
                    ""
                };
                return Err(Error::file(format!(
                    "model: {name}: expected shape {expected:?}, got {shape:?}{mend}"
                )));
            }
            None => return Err(Error::file(format!("model: {name}: the tensor is missing"))),
        }
    }
    let mut params = Params::zeros(layout.into());
    params.set_storage(file.storage());
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

/// A bare recurrent layer.
fn layer<F: Float>(
    config: &RecurrentConfig,
    prefix: &str,
    model: &TensorFile<'_>,
    input: &TensorFile<'_>,
    options: &RunOptions,
) -> Result<Tensors<F>> {
    let arrays = Arrays::new(input, 3, &arrays::states(&[""]))?;
    let mut layout = Layout::new();
    let stack = config.stack(&mut layout, "")?;
    let known = layout.clone();
    let params = load::<F>(model, layout, prefix, |name| {
        beside(model, prefix, &known, name)
    })?;
    let batch_axis = usize::from(!options.batch_first);
    let input = arrays.input::<F>(batch_axis)?;
    let lengths = arrays.lengths(batch_axis)?;
    let mut state = stack.start(input.len_of(Axis(batch_axis)));
    arrays.state(&mut state, "", "", "0")?;

    let pass = Pass {
        lengths: lengths.as_deref(),
        inference: !options.trace && !arrays.has_gradients(),
        ..Pass::default()
    };
    let mut cache = StackCache::default();
    let dim = input.dim();
    let (expected, got) = (config.input_size, dim.2);
    if got != expected {
        let reverse = if config.stack.reverse { "_reverse" } else { "" };
        return Err(Error::shape(format!(
            "input: input.size(-1) must be equal to input_size. Expected {expected}, got {got} (the model's {prefix}weight_ih_l0{reverse} has {expected} columns, the input file's `input` {got} features)",
        )));
    }
    let mut output = zeros((dim.0, dim.1, stack.output_size()))?;
    let (x, y) = (input.view(), output.view_mut());
    stack.forward(&params, x, &pass, &mut state, &mut cache, y)?;
    let mut out = vec![("output".to_owned(), arrays.out(output, batch_axis))];
    arrays.put_state(&mut out, &state, "", "", "n");
    if options.trace {
        arrays.put_trace(&mut out, "", stack.trace(&cache), batch_axis);
    }
    if arrays.has_gradients() {
        let d_output = arrays.array::<F>("d_output", batch_axis)?;
        let mut d_state = stack.start(state.batch());
        arrays.state(&mut d_state, "d_", "", "n")?;
        let mut grads = Params::zeros(params.layout().clone());
        let mut d_input = Array3::zeros(dim);
        let dy = d_output.as_ref().map(|a| a.view());
        let dx = Some(d_input.view_mut());
        stack.backward(&params, &mut cache, dy, &mut d_state, &mut grads, dx)?;
        out.push(("d_input".to_owned(), arrays.out(d_input, batch_axis)));
        arrays.put_state(&mut out, &d_state, "d_", "", "0");
        put_grads(&mut out, prefix, &grads);
    }
    Ok(out)
}

/// What a model file holds: a network, or several.
fn own<F: Float>(
    model: &TensorFile<'_>,
    input: &TensorFile<'_>,
    options: &RunOptions,
) -> Result<Tensors<F>> {
    let model = Model::<F>::from_tensors(model).map_err(|e| e.at("model"))?;
    match model.members() {
        [params] => network(model.network(), params, input, options),
        members => ensemble(model.network(), members, input, options),
    }
}

/// The mean of the outputs of several networks of one kind, summed in `f64` as
/// a forecaster sums them.
fn ensemble<F: Float>(
    of: &AnyNetwork,
    members: &[Params<F>],
    input: &TensorFile<'_>,
    options: &RunOptions,
) -> Result<Tensors<F>> {
    let count = members.len();
    let alone = |name: &str| {
        format!(
            "{name}: the model file holds {count} networks, and their mean has an output only; leave it out, or run a file of one network (elman forecast --members 1)"
        )
    };
    if options.trace {
        return Err(Error::option(alone("--trace")));
    }
    let of_one = |name: &&str| arrays::is_state(name) || name.starts_with("d_");
    if let Some(name) = input.names().into_iter().find(of_one) {
        return Err(Error::file(alone(name)).at("input"));
    }
    let mut mean: Option<ArrayD<f64>> = None;
    for params in members {
        let out = network(of, params, input, options)?;
        let outputs = out.into_iter().filter(|(name, _)| name == "output");
        for (_, output) in outputs {
            let sum = mean.get_or_insert_with(|| ArrayD::zeros(output.shape()));
            sum.zip_mut_with(&output, |s, y| *s += y.f64() / count as f64);
        }
    }
    let mean = mean.map(|sum| ("output".to_owned(), sum.mapv(F::lit)));
    Ok(mean.into_iter().collect())
}

/// A network of a model file.
fn network<F: Float>(
    network: &AnyNetwork,
    params: &Params<F>,
    input: &TensorFile<'_>,
    options: &RunOptions,
) -> Result<Tensors<F>> {
    if let AnyNetwork::Chain(network) = network {
        return chain(network, params, input, options);
    }
    let mut known = arrays::states(&[""]);
    if matches!(network, AnyNetwork::OneToMany(_)) {
        // Its input is where its state starts.
        known.retain(|name| !name.ends_with("_0"));
    }
    known.extend(["known", "start", "skip"].map(str::to_owned));
    let arrays = Arrays::new(input, 3, &known)?;
    let input = arrays.input::<F>(1)?;
    let known = arrays.array::<F>("known", 1)?;
    let start = arrays.vector::<F>("start")?;
    let skip = arrays.vector::<F>("skip")?;
    let inputs = Inputs {
        input: input.view(),
        indices: None,
        known: known.as_ref().map(|a| a.view()),
        start: start.as_ref().map(|a| a.view()),
        skip: skip.as_ref().map(|a| a.view()),
        teacher: None,
    };
    let lengths = arrays.lengths(1)?;
    let pass = Pass {
        lengths: lengths.as_deref(),
        inference: !options.trace && !arrays.has_gradients(),
        ..Pass::default()
    };
    let dim = network.output_dim(&inputs)?;
    let mut state = network.start(dim.1);
    arrays.state(&mut state, "", "", "0")?;
    let mut cache = AnyCache::Empty;
    let mut output = zeros(dim)?;
    let y = output.view_mut();
    network.forward(params, &inputs, &pass, &mut state, &mut cache, y)?;
    let mut out = vec![("output".to_owned(), arrays.out(output, 1))];
    arrays.put_state(&mut out, &state, "", "", "n");
    if options.trace {
        let (AnyNetwork::Sequence(network), AnyCache::Sequence(cache)) = (network, &cache) else {
            return Err(Error::option(
                "--trace: only networks of one recurrent stack can be traced",
            ));
        };
        arrays.put_trace(&mut out, "", network.stack().trace(cache.stack()), 1);
    }
    if arrays.has_gradients() {
        let dy = arrays.array::<F>("d_output", 1)?;
        let dy = dy.unwrap_or_else(|| Array3::zeros(dim));
        let mut d_state = network.start(dim.1);
        arrays.state(&mut d_state, "d_", "", "n")?;
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
        out.push(("d_input".to_owned(), arrays.out(d_input, 1)));
        arrays.put_state(&mut out, &d_state, "d_", "", "0");
        put_grads(&mut out, "", &grads);
    }
    Ok(out)
}

/// Layers one after another.
fn chain<F: Float>(
    chain: &Chain,
    params: &Params<F>,
    input: &TensorFile<'_>,
    options: &RunOptions,
) -> Result<Tensors<F>> {
    let prefixes: Vec<_> = chain
        .recurrent()
        .map(|(prefix, ..)| dotted(prefix))
        .collect();
    let befores: Vec<&str> = match &prefixes[..] {
        [_] => vec![""],
        several => several.iter().map(|p| &**p).collect(),
    };
    let rank = if chain.reads_indices() { 2 } else { 3 };
    let arrays = Arrays::new(input, rank, &arrays::states(&befores))?;
    let batch_axis = usize::from(!options.batch_first);
    // A network's arrays are (T, B, ..).
    let time_first = |array: Array3<F>| match batch_axis {
        0 => array.permuted_axes([1, 0, 2]),
        _ => array,
    };
    let (indices, numbers);
    let inputs = if chain.reads_indices() {
        indices = arrays.indices(batch_axis)?;
        let indices = indices.view();
        Inputs::indices(if batch_axis == 0 {
            indices.reversed_axes()
        } else {
            indices
        })
    } else {
        numbers = time_first(arrays.input::<F>(batch_axis)?);
        Inputs::sequences(numbers.view())
    };
    let lengths = arrays.lengths(batch_axis)?;
    let pass = Pass {
        lengths: lengths.as_deref(),
        inference: !options.trace && !arrays.has_gradients(),
        ..Pass::default()
    };
    let dim = chain.output_dim(&inputs)?;
    let one_step = chain.gives_one_step();
    // Each recurrent layer's part of the state goes by its own name.
    let read_states = |d: &str, when: &str| {
        let mut state = chain.start(dim.1);
        let (mut given, mut learned) = (0, false);
        for ((_, stack, slots), before) in chain.recurrent().zip(&befores) {
            let mut own = stack.start(dim.1);
            learned |= stack.config().learn_initial_state;
            if arrays.state(&mut own, d, before, when)? {
                state.copy_slots(&own, 0..slots.len(), slots.start);
                given += 1;
            }
        }
        if d.is_empty() && learned && given > 0 && given < befores.len() {
            return Err(Error::file(
                "input: a network that learns its initial states takes those of all recurrent layers, or none",
            ));
        }
        Ok::<_, Error>(state)
    };
    let put_states = |out: &mut Tensors<F>, state: &crate::layer::State<F>, d: &str, when: &str| {
        for ((_, stack, slots), before) in chain.recurrent().zip(&befores) {
            let mut own = stack.start(dim.1);
            own.copy_slots(state, slots, 0);
            arrays.put_state(out, &own, d, before, when);
        }
    };
    let mut state = read_states("", "0")?;
    let mut cache = ChainCache::default();
    let mut output = zeros(dim)?;
    let y = output.view_mut();
    chain.forward(params, &inputs, &pass, &mut state, &mut cache, y)?;
    let output = if one_step {
        arrays.out_row(output)
    } else {
        arrays.out(time_first(output), batch_axis)
    };
    let mut out = vec![("output".to_owned(), output)];
    put_states(&mut out, &state, "", "n");
    if options.trace {
        for (number, ((_, stack, _), before)) in chain.recurrent().zip(&befores).enumerate() {
            let traces = cache.stack(number).map(|cache| stack.trace(cache));
            let mut traces = traces.unwrap_or_default();
            for trace in &mut traces {
                trace.values = time_first(std::mem::take(&mut trace.values));
            }
            arrays.put_trace(&mut out, before, traces, batch_axis);
        }
    }
    if arrays.has_gradients() {
        let dy = if one_step {
            arrays
                .vector::<F>("d_output")?
                .map(|a| a.insert_axis(Axis(0)))
        } else {
            arrays.array::<F>("d_output", batch_axis)?.map(time_first)
        };
        let dy = dy.unwrap_or_else(|| Array3::zeros(dim));
        let mut d_state = read_states("d_", "n")?;
        let mut grads = Params::zeros(params.layout().clone());
        let mut d_input = Array3::zeros(inputs.input.dim());
        let dx = (!chain.reads_indices()).then(|| d_input.view_mut());
        chain.backward(
            params,
            &inputs,
            &mut cache,
            dy.view(),
            &mut d_state,
            &mut grads,
            dx,
        )?;
        if !chain.reads_indices() {
            let d_input = arrays.out(time_first(d_input), batch_axis);
            out.push(("d_input".to_owned(), d_input));
        }
        put_states(&mut out, &d_state, "d_", "0");
        put_grads(&mut out, "", &grads);
    }
    Ok(out)
}
