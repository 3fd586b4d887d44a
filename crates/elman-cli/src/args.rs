//! What the user typed. What of it can be run is decided in [`crate::plan`].

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use elman::params::Storage;
use elman_bench::case::{Mode, Row};
use elman_explain::render::terminal::Only;
use elman_explain::setup::{Configuration, RnnActivation};
use elman_forecast::options::{Cell, Gaps, Loss, Named, Scaling, Strategy};
use std::path::PathBuf;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  elman forecast energy.csv --target kwh --horizon 7
      forecasts seven days from a daily table, tests the model on the newest
      weeks, and writes forecast.csv, report.html and model.safetensors
  elman predict model.safetensors energy-new.csv
      forecasts with that model from newer rows, without training
  elman inspect model.safetensors
      shows what a model file holds
  elman convert lstm.pt lstm.safetensors
      writes the weights in another format and compares the two
  elman explain
      shows one training step of a small network, number by number
  elman bench --quick
      shows how fast recurrent layers are on this machine, and could be

Exit codes: 0 done, 1 the work failed, 2 the command line or the input is wrong.";

const FORECAST_EXAMPLES: &str = "\
Examples:
  elman forecast energy.csv --target kwh --horizon 7
  elman forecast sales.csv --target units --horizon 12 --time month --cell lstm
  elman forecast energy.csv --target kwh --horizon 7 --json --out results

What is left open is chosen from the frequency and the length of the table, and
printed together with its flag. The same seed gives the same forecast.";

const PREDICT_EXAMPLES: &str = "\
Examples:
  elman predict model.safetensors energy-new.csv
  elman predict model.safetensors energy-new.csv --out next-week";

const RUN_EXAMPLES: &str = "\
Examples:
  elman run lstm.pt --input in.safetensors --output out.safetensors
  elman run rnn.safetensors --nonlinearity relu --batch-first \\
      --input in.safetensors --output out.safetensors --trace
  elman run tagger.pt --network net.toml --input in.safetensors --output out.safetensors";

const RUN_ABOUT: &str = "\
Run arrays through a recurrent layer, and gradients back

MODEL is a safetensors or PyTorch file with the state_dict of one bare nn.RNN,
nn.GRU or nn.LSTM, or a PyTorch checkpoint that holds one. Layers, directions,
biases and the cell are read from the names and shapes in it. A model file of
elman's own needs no flag; where it holds several networks, as elman forecast
writes it, OUT gets the mean of their outputs and nothing else. A model with an
embedding before the layer or a head behind it is described by a few lines of
TOML, --network net.toml: its layers in order, each with its prefix in the file.

    [[layer]]
    type = \"embedding\"        # then lstm (or rnn, gru), linear
    prefix = \"encoder\"        # where the file has encoder.weight

Other types: layer_norm (eps), relu, tanh and more, softmax, log_softmax, dropout
(p), and for a head that reads one step: last_output, the output at each row's
last valid step, or last_state, the final state h_n with both directions side by
side. Other keys: padding_idx of an embedding, nonlinearity of an rnn.

IN is a safetensors file, or a dict of tensors saved by torch.save, with `input`;
optionally `h_0`, `c_0` and `lengths` (int64); and, to get gradients, any of
`d_output`, `d_h_n`, `d_c_n`. All of it is float32, or all of it float64. Before
an embedding, `input` is int64 (time, batch). With several recurrent layers,
their states are `PREFIX.h_0` and so on.

OUT is a safetensors file. It gets `output`, `h_n`, `c_n` (LSTM) and, where
gradients were asked for, `d_input`, `d_h_0`, `d_c_0` (LSTM) and `d_NAME` for
every parameter NAME in MODEL.";

const CONVERT_EXAMPLES: &str = "\
Examples:
  elman convert lstm.pt lstm.safetensors
  elman convert checkpoint.pt small.safetensors --dtype f16 --prefix-strip model.
  elman convert model.safetensors model.pt";

const EXPLAIN_ABOUT: &str = "\
Show one training step of a recurrent network, number by number

Without arguments this is the worked example: [10 20 30] -> 40, divided by 100,
read by an RNN of two units. Every product, sum, gate, state, prediction and
gradient is shown with its formula; gradients with their two parts, from the loss
here and from the next step, and beside them their finite differences.

Flags change the model: its cell, sizes, weights, input and target. MODEL is a
model file of elman's in place of it, with one network that reads a sequence, or
one vector; the first network of several is shown. Of a model of elman forecast
--input is a table: the newest window whose next steps are known is shown.

A file of PyTorch's is taken where it holds one recurrent layer and at most one
linear head.

--set NAME[i,j]=VALUE sets a number of a parameter: by the symbol that formulas
have, counted from 1, or by PyTorch's name, or the one in MODEL, counted from 0.
--input has a number for each step; where semicolons, commas or line breaks part
it, each part is a step and its numbers are the features: \"1 2; 3 4\" are two
steps of two, \"1 2;\" is one. It may be the name of a file: there each line is a
step and each column a feature, whose names may stand in a first line; one line
alone, without names, is read like words.
--json prints all of it; the chapter \"The JSON document\" of the book
(docs/src/json.md) says what each key is.
--configuration many-to-many has the head of a layer that PyTorch has saved read
the state of every step.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  elman explain
  elman explain --step 2 --full
  elman explain --cell lstm --hidden 2 --check
  elman explain --nonlinearity linear --set weight_hh_l0[0,0]=1.5 --only backward
  elman explain --configuration many-to-many --bidirectional --html explain.html
  elman explain model.safetensors --input \"0.1 0.2 0.3\" --target 0.4
  elman explain model.safetensors --input energy.csv --html explain.html";

const BENCH_EXAMPLES: &str = "\
Examples:
  elman bench
  elman bench --row medium,large --cell lstm --threads 2
  elman bench --cell gru --seq-len 100 --batch 32 --input-size 64 \\
      --hidden-size 128 --mode train --json";

const BENCH_ABOUT: &str = "\
Measure how fast recurrent layers are, and how fast they could be

First comes what this machine does at most: multiply-adds, bytes read from every
cache and from memory, on one thread and on all; and how long a thread waits for
another. Then the rows of a grid, or one of your own: seconds of a run (the
median), GFLOP/s, and their share of the most on as many threads. Numbers are
float32.

    row         T     B     I     H
    tiny        3     3     1     2    rnn, gru and lstm; infer, train and packed
    small      30    32     8    32
    stream    100     1    16    64    never packed
    medium    100    32    64   128
    large     100    64   256   512
    huge       50   128   512  1024
    long     1000     1   256   512    never packed
    deep      100    32    64   128    two layers, two directions
    end-to-end 64    32    64   256    a training step of a language model:
                                       embedding, lstm, linear, softmax cross
                                       entropy over 65 symbols, Adam

infer is forward only. train is forward, the gradient of the sum of the outputs,
and those of all parameters and the input. packed is train with lengths that go
evenly from T/4 to T. Every run has a new input and gradients from zero.

Operations are those of the matrix products, 2 T B G H (I + H) forward for every
layer and direction, with G gates, and three times that in training.";

const CONVERT_ABOUT: &str = "\
Convert a weights file to another format, and prove that it is the same

The end of its name says what OUT is: .safetensors, or .pt or .pth, which
torch.load takes (weights_only=True as well). Names, shapes, numbers and a
safetensors file's metadata stay; a PyTorch file has no place for metadata.

OUT is then read again from disk and compared with IN, tensor by tensor. A
recurrent layer, a model of elman's, and what --network declares is run from
both files on the same pseudo-random input.";

/// Recurrent neural networks: forecasts from a table, arrays through a layer.
#[derive(Debug, Parser)]
#[command(name = "elman", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Forecast a column of a table, and say how good the forecast is
    #[command(
        override_usage = "elman forecast <FILE> --target <COLUMN> --horizon <N> [OPTIONS]",
        after_help = FORECAST_EXAMPLES
    )]
    Forecast(Box<ForecastArgs>),
    /// Forecast from newer rows with a saved model, without training
    #[command(after_help = PREDICT_EXAMPLES)]
    Predict(PredictArgs),
    /// Show what a model file holds
    Inspect(InspectArgs),
    /// Run arrays through a recurrent layer, and gradients back
    #[command(long_about = RUN_ABOUT, after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Convert a weights file to another format, and prove that it is the same
    #[command(long_about = CONVERT_ABOUT, after_help = CONVERT_EXAMPLES)]
    Convert(ConvertArgs),
    /// Show one training step of a recurrent network, number by number
    #[command(long_about = EXPLAIN_ABOUT, after_help = EXPLAIN_EXAMPLES)]
    Explain(Box<ExplainArgs>),
    /// Measure how fast recurrent layers are, and how fast they could be
    #[command(long_about = BENCH_ABOUT, after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
}

/// The flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Common {
    /// Print one JSON object on standard output and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Only the result: no progress, no notes, no summary
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Seed of every random number; training draws some, and explain its
    /// parameters [default: 0]
    #[arg(long, global = true, value_name = "N",
          value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Threads to use at most, 1 to 1024 [default: one a core]
    #[arg(long, global = true, value_name = "N",
          value_parser = whole, allow_negative_numbers = true)]
    pub threads: Option<usize>,
}

#[derive(Debug, Args)]
pub struct ForecastArgs {
    /// The table: a CSV file with a header
    pub file: PathBuf,

    /// The column to forecast
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub target: Option<String>,
    /// Steps to forecast: 7 is a week of a daily table
    #[arg(long, value_name = "N", help_heading = "Data",
          value_parser = whole, allow_negative_numbers = true)]
    pub horizon: Option<usize>,
    /// The time column [default: found]
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub time: Option<String>,
    /// The frequency, like daily, hourly, monthly, "15 minutes" [default: found]
    #[arg(long, value_name = "WORDS", help_heading = "Data")]
    pub frequency: Option<String>,
    /// The time zone of times that have none, like Europe/Paris
    #[arg(long, value_name = "ZONE", help_heading = "Data")]
    pub zone: Option<String>,
    /// Steps of one season, 1 for none [default: by frequency; 7 for daily]
    #[arg(long, value_name = "N", help_heading = "Data",
          value_parser = whole, allow_negative_numbers = true)]
    pub season: Option<usize>,
    /// How missing values are filled [default: interpolate]
    #[arg(long, value_name = "HOW", help_heading = "Data", value_parser = named::<Gaps>())]
    pub gaps: Option<Gaps>,

    /// How several steps are forecast [default: direct]
    #[arg(long, value_name = "HOW", help_heading = "Model", value_parser = named::<Strategy>())]
    pub strategy: Option<Strategy>,
    /// Steps the network looks back
    #[arg(long, value_name = "N", help_heading = "Model",
          value_parser = whole, allow_negative_numbers = true)]
    pub look_back: Option<usize>,
    /// The recurrent cell
    #[arg(long, value_name = "CELL", help_heading = "Model", value_parser = named::<Cell>())]
    pub cell: Option<Cell>,
    /// Units of a recurrent layer
    #[arg(long, value_name = "N", help_heading = "Model",
          value_parser = whole, allow_negative_numbers = true)]
    pub hidden_size: Option<usize>,
    /// Recurrent layers
    #[arg(long, value_name = "N", help_heading = "Model",
          value_parser = whole, allow_negative_numbers = true)]
    pub layers: Option<usize>,
    /// Share of the values dropped in training, from 0 to below 1
    #[arg(long, value_name = "SHARE", help_heading = "Model",
          value_parser = number, allow_negative_numbers = true)]
    pub dropout: Option<f64>,
    /// What is subtracted from every window, and added again
    #[arg(long, value_name = "WHAT", help_heading = "Model", value_parser = named::<Scaling>())]
    pub scaling: Option<Scaling>,
    /// Networks whose forecasts are averaged
    #[arg(long, value_name = "N", help_heading = "Model",
          value_parser = whole, allow_negative_numbers = true)]
    pub members: Option<usize>,

    /// What the training minimises
    #[arg(long, value_name = "LOSS", help_heading = "Training", value_parser = named::<Loss>())]
    pub loss: Option<Loss>,
    /// Passes over the training windows, at most
    #[arg(long, value_name = "N", help_heading = "Training",
          value_parser = whole, allow_negative_numbers = true)]
    pub epochs: Option<usize>,
    /// Windows of one optimiser step
    #[arg(long, value_name = "N", help_heading = "Training",
          value_parser = whole, allow_negative_numbers = true)]
    pub batch_size: Option<usize>,
    /// Step size of the optimiser
    #[arg(long, value_name = "RATE", help_heading = "Training",
          value_parser = number, allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// Epochs without a better validation loss before training stops [default: off]
    #[arg(long, value_name = "N", help_heading = "Training",
          value_parser = whole, allow_negative_numbers = true)]
    pub patience: Option<usize>,

    /// Newest rows to test on [default: 26 weeks, or 20 % of the rows if that is less]
    #[arg(long, value_name = "N", help_heading = "Test",
          value_parser = whole, allow_negative_numbers = true)]
    pub test_rows: Option<usize>,

    /// Folder for forecast.csv, report.html and model.safetensors; made if missing
    #[arg(long, value_name = "DIR", help_heading = "Output", default_value = ".")]
    pub out: PathBuf,
    /// Replace files of these names even where elman did not write them
    #[arg(long, help_heading = "Output")]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct PredictArgs {
    /// A model file of elman forecast
    pub model: PathBuf,
    /// The table with the newest rows: the columns and the frequency of the
    /// table the model was trained on
    pub file: PathBuf,
    /// Folder for forecast.csv; made if missing [default: print only]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Replace forecast.csv even where elman did not write it
    #[arg(long, help_heading = "Output", requires = "out")]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A model file of elman, any safetensors file, or a PyTorch file
    pub model: PathBuf,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// A safetensors or PyTorch file with the layer's parameters
    pub model: PathBuf,
    /// A safetensors file, or a dict saved by torch.save, with the arrays to run
    #[arg(long, value_name = "IN")]
    pub input: PathBuf,
    /// The safetensors file to write; a file of this name is replaced, a symbolic
    /// link is followed
    #[arg(long, value_name = "OUT")]
    pub output: PathBuf,
    /// The cell the model is expected to have [default: found]
    #[arg(long, value_name = "CELL", help_heading = "Layer", value_parser = named::<Cell>())]
    pub cell: Option<Cell>,
    /// The nonlinearity of a plain RNN [default: tanh]
    #[arg(long, value_name = "NAME", help_heading = "Layer")]
    pub nonlinearity: Option<Nonlinearity>,
    /// Arrays are (batch, time, features), not (time, batch, features)
    #[arg(long, help_heading = "Layer")]
    pub batch_first: bool,
    /// The layers around the recurrent one, in a file of TOML; see above
    #[arg(long, value_name = "FILE", help_heading = "Layer")]
    pub network: Option<PathBuf>,
    /// Write every gate and state as well, as trace.l0.h and so on
    #[arg(long)]
    pub trace: bool,
}

#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// A safetensors file, or a PyTorch file with a state_dict
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The file to write: .safetensors, .pt or .pth
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// How floating-point numbers are stored [default: as they are]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Dtype>,
    /// Take this away from the beginning of every name, like model.
    #[arg(long, value_name = "PREFIX")]
    pub prefix_strip: Option<String>,
    /// Put this before every name
    #[arg(long, value_name = "PREFIX")]
    pub prefix_add: Option<String>,
    /// The layers in IN, for the proof: as for elman run
    #[arg(long, value_name = "FILE")]
    pub network: Option<PathBuf>,
    /// Replace OUT if it is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A model file of elman's or PyTorch's [default: the worked example]
    pub model: Option<PathBuf>,

    /// What the network reads: numbers, or a file with numbers, or a table
    /// [default: 10 20 30]
    #[arg(
        long,
        value_name = "NUMBERS",
        help_heading = "Data",
        allow_hyphen_values = true
    )]
    pub input: Option<String>,
    /// What it should predict [default: 40]
    #[arg(
        long,
        value_name = "NUMBERS",
        help_heading = "Data",
        allow_hyphen_values = true
    )]
    pub target: Option<String>,
    /// What both are divided by [default: 100; 1 with a model file]
    #[arg(long, value_name = "NUMBER", help_heading = "Data",
          value_parser = number, allow_negative_numbers = true)]
    pub scale: Option<f64>,

    /// The recurrent cell [default: rnn]
    #[arg(long, value_name = "CELL", help_heading = "Model", value_parser = named::<Cell>())]
    pub cell: Option<Cell>,
    /// Units of a layer [default: 2]
    #[arg(long, value_name = "N", help_heading = "Model",
          value_parser = whole, allow_negative_numbers = true)]
    pub hidden: Option<usize>,
    /// Layers on top of each other [default: 1]
    #[arg(long, value_name = "N", help_heading = "Model",
          value_parser = whole, allow_negative_numbers = true)]
    pub layers: Option<usize>,
    /// Two directions in every layer
    #[arg(long, help_heading = "Model")]
    pub bidirectional: bool,
    /// Which predictions there are [default: many-to-one]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub configuration: Option<ConfigurationArg>,
    /// What the head of a many-to-one network reads [default: all-states]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub readout: Option<ReadoutArg>,
    /// The activation of an rnn [default: tanh]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub nonlinearity: Option<RnnActivationArg>,
    /// PyTorch's two biases, not the one of the theory
    #[arg(long, help_heading = "Model")]
    pub two_biases: bool,
    /// Set a number of a parameter, like W_h[1,2]=0.5; may be repeated
    #[arg(long, value_name = "NAME[i,j]=VALUE", help_heading = "Model")]
    pub set: Vec<String>,
    /// The learning rate of the update [default: 0.1]
    #[arg(long, value_name = "RATE", help_heading = "Model",
          value_parser = number, allow_negative_numbers = true)]
    pub lr: Option<f64>,

    /// Only one step in time, counted from 1
    #[arg(long, value_name = "T", help_heading = "Output",
          value_parser = whole, allow_negative_numbers = true)]
    pub step: Option<usize>,
    /// The formula of every number, in symbols and with the numbers
    #[arg(long, help_heading = "Output")]
    pub full: bool,
    /// Only a part
    #[arg(long, value_name = "PART", help_heading = "Output")]
    pub only: Option<OnlyArg>,
    /// Only the finite differences of all gradients
    #[arg(long, help_heading = "Output")]
    pub check: bool,
    /// Write one page of HTML, with all of it, in place of the text; folders are
    /// made if missing
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,
    /// Replace FILE even where elman did not write it
    #[arg(long, help_heading = "Output", requires = "html")]
    pub force: bool,
}

/// Which predictions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigurationArg {
    /// one, after the whole sequence
    ManyToOne,
    /// a sequence from one vector
    OneToMany,
    /// one a step
    ManyToMany,
}

impl From<ConfigurationArg> for Configuration {
    fn from(name: ConfigurationArg) -> Self {
        match name {
            ConfigurationArg::ManyToOne => Self::ManyToOne,
            ConfigurationArg::OneToMany => Self::OneToMany,
            ConfigurationArg::ManyToMany => Self::ManyToMany,
        }
    }
}

/// What a head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReadoutArg {
    /// the states of all steps side by side
    AllStates,
    /// the state after the last step
    LastState,
}

/// The activation of an RNN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RnnActivationArg {
    /// the hyperbolic tangent
    Tanh,
    /// negative values become zero
    Relu,
    /// none, for work by hand
    Linear,
}

impl From<RnnActivationArg> for RnnActivation {
    fn from(name: RnnActivationArg) -> Self {
        match name {
            RnnActivationArg::Tanh => Self::Tanh,
            RnnActivationArg::Relu => Self::Relu,
            RnnActivationArg::Linear => Self::Linear,
        }
    }
}

/// A part of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnlyArg {
    /// from the input to the loss
    Forward,
    /// from the loss to the gradients
    Backward,
    /// the tensors and their shapes
    Shapes,
}

impl From<OnlyArg> for Only {
    fn from(name: OnlyArg) -> Self {
        match name {
            OnlyArg::Forward => Self::Forward,
            OnlyArg::Backward => Self::Backward,
            OnlyArg::Shapes => Self::Shapes,
        }
    }
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Rows of the grid, one or several with commas between [default: all]
    #[arg(long, value_name = "NAME", help_heading = "What",
          value_delimiter = ',', value_parser = row())]
    pub row: Vec<Row>,
    /// The recurrent cell [default: all]
    #[arg(long, value_name = "CELL", help_heading = "What", value_parser = named::<Cell>())]
    pub cell: Option<Cell>,
    /// What is done in a run [default: all]
    #[arg(long, value_name = "MODE", help_heading = "What", value_parser = mode())]
    pub mode: Option<Mode>,
    /// How the kernels keep the weights in inference
    #[arg(long, value_name = "HOW", help_heading = "What",
          default_value = "full", value_parser = storage())]
    pub weights: Storage,

    /// Steps, T
    #[arg(long, value_name = "N", help_heading = "Sizes of your own",
          value_parser = whole, allow_negative_numbers = true)]
    pub seq_len: Option<usize>,
    /// Sequences side by side, B
    #[arg(long, value_name = "N", help_heading = "Sizes of your own",
          value_parser = whole, allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// Features of a step, I
    #[arg(long, value_name = "N", help_heading = "Sizes of your own",
          value_parser = whole, allow_negative_numbers = true)]
    pub input_size: Option<usize>,
    /// Units of a layer and direction, H
    #[arg(long, value_name = "N", help_heading = "Sizes of your own",
          value_parser = whole, allow_negative_numbers = true)]
    pub hidden_size: Option<usize>,
    /// Layers on top of each other [default: 1]
    #[arg(long, value_name = "N", help_heading = "Sizes of your own",
          value_parser = whole, allow_negative_numbers = true)]
    pub layers: Option<usize>,
    /// Two directions in every layer
    #[arg(long, help_heading = "Sizes of your own")]
    pub bidirectional: bool,

    /// Runs of every row [default: as many as take 0.3 s, at least 5]
    #[arg(long, value_name = "N", help_heading = "Runs",
          value_parser = whole, allow_negative_numbers = true)]
    pub runs: Option<usize>,
    /// As many runs as take 0.05 s, at least 3
    #[arg(long, help_heading = "Runs")]
    pub quick: bool,
}

/// How floating-point numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// 64 bits
    F64,
    /// 32 bits
    F32,
    /// IEEE half
    F16,
    /// the upper half of 32 bits
    Bf16,
    /// matrices as whole numbers of 8 bits with a scale for each row; to
    /// .safetensors only
    Int8,
}

impl From<Dtype> for elman::weights::Precision {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::Bf16,
            Dtype::Int8 => Self::Int8,
        }
    }
}

/// The nonlinearity of a plain RNN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Nonlinearity {
    /// the hyperbolic tangent
    Tanh,
    /// negative values become zero
    Relu,
}

impl From<Nonlinearity> for elman::cell::Nonlinearity {
    fn from(name: Nonlinearity) -> Self {
        match name {
            Nonlinearity::Tanh => Self::Tanh,
            Nonlinearity::Relu => Self::Relu,
        }
    }
}

fn named<T>() -> impl TypedValueParser<Value = T>
where
    T: Named + Send + Sync + FromStr<Err = elman_forecast::Error>,
{
    let values = T::ALL
        .iter()
        .map(|value| PossibleValue::new(value.name()).help(value.meaning()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<T>())
}

fn row() -> impl TypedValueParser<Value = Row> {
    PossibleValuesParser::new(Row::ALL.map(Row::name)).try_map(|name| {
        let mut all = Row::ALL.into_iter();
        all.find(|row| row.name() == name).ok_or("no such row")
    })
}

fn mode() -> impl TypedValueParser<Value = Mode> {
    let values = Mode::ALL.map(|mode| PossibleValue::new(mode.name()).help(mode.meaning()));
    PossibleValuesParser::new(values).try_map(|name| {
        let mut all = Mode::ALL.into_iter();
        all.find(|mode| mode.name() == name).ok_or("no such mode")
    })
}

fn storage() -> impl TypedValueParser<Value = Storage> {
    let values = Storage::ALL.map(|storage| {
        let help = match storage {
            Storage::Full => "as they are",
            Storage::Bf16 => "in two bytes",
            Storage::Int8 => "in one byte, with a scale for each row",
        };
        PossibleValue::new(storage.name()).help(help)
    });
    PossibleValuesParser::new(values).try_map(|name| {
        let mut all = Storage::ALL.into_iter();
        all.find(|storage| storage.name() == name)
            .ok_or("no such storage")
    })
}

fn whole(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number, 1 or more")
}

fn seed(text: &str) -> Result<u64, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number from 0 to 18446744073709551615")
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.parse().map_err(|_| "expected a number, like 0.2")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
