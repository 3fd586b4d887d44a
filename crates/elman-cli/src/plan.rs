//! What can be run: the step between the command line and the work. Whatever
//! can be refused before the work is refused here.

use crate::args::{
    BenchArgs, Common, ConvertArgs, ExplainArgs, ForecastArgs, Nonlinearity, OnlyArg, PredictArgs,
    RunArgs,
};
use crate::failure::Failure;
use crate::files::{self, File, Folder};
use elman::cell::CellKind;
use elman::params::Storage;
use elman::run::Declaration;
use elman::weights::{ConvertOptions, Format};
use elman_bench::case::{Case, Mode, Row, Sizes};
use elman_bench::measure::Options;
use elman_explain::render::terminal::View;
use elman_explain::setup::{Request, RnnActivation};
use elman_forecast::options::{Cell, ForecastOptions};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A forecast that can be tried.
#[derive(Debug)]
pub struct ForecastPlan {
    pub table: PathBuf,
    pub options: ForecastOptions,
    pub folder: Folder,
}

impl ForecastPlan {
    pub fn new(args: ForecastArgs, common: &Common) -> Result<Self, Failure> {
        let horizon = match (args.horizon, &args.target) {
            (Some(horizon), _) => horizon,
            (None, Some(_)) => {
                return Err(Failure::Input(
                    "--horizon is missing: how many steps to forecast, like --horizon 7".into(),
                ));
            }
            // The missing target is refused first, with the columns it could be.
            (None, None) => 1,
        };
        let options = ForecastOptions {
            target: args.target,
            horizon,
            time: args.time,
            frequency: args.frequency,
            zone: args.zone,
            season: args.season,
            gaps: args.gaps,
            strategy: args.strategy,
            look_back: args.look_back,
            cell: args.cell,
            hidden_size: args.hidden_size,
            layers: args.layers,
            dropout: args.dropout,
            loss: args.loss,
            scaling: args.scaling,
            epochs: args.epochs,
            batch_size: args.batch_size,
            learning_rate: args.learning_rate,
            members: args.members,
            patience: args.patience,
            test_rows: args.test_rows,
            seed: common.seed.unwrap_or(0),
            threads: common.threads,
        };
        options.check()?;
        let folder = Folder::claim(
            &args.out,
            &[File::Forecast, File::Report, File::Model],
            args.force,
            &[&args.file],
        )?;
        Ok(Self {
            table: args.file,
            options,
            folder,
        })
    }
}

/// A prediction that can be tried.
#[derive(Debug)]
pub struct PredictPlan {
    pub model: PathBuf,
    pub table: PathBuf,
    pub folder: Option<Folder>,
}

impl PredictPlan {
    pub fn new(args: PredictArgs) -> Result<Self, Failure> {
        let folder = args
            .out
            .map(|out| {
                Folder::claim(
                    &out,
                    &[File::Forecast],
                    args.force,
                    &[&args.model, &args.file],
                )
            })
            .transpose()?;
        Ok(Self {
            model: args.model,
            table: args.file,
            folder,
        })
    }
}

/// A layer and arrays that can be tried.
#[derive(Debug)]
pub struct RunPlan {
    pub model: PathBuf,
    pub input: PathBuf,
    pub output: PathBuf,
    pub cell: Option<Cell>,
    pub nonlinearity: Option<Nonlinearity>,
    pub batch_first: bool,
    pub trace: bool,
    pub network: Option<Declaration>,
}

impl RunPlan {
    pub fn new(args: RunArgs) -> Result<Self, Failure> {
        if let (Some(cell @ (Cell::Gru | Cell::Lstm)), Some(_)) = (args.cell, args.nonlinearity) {
            return Err(Failure::Input(format!(
                "--nonlinearity: only the cell rnn has one, and --cell says {cell}; leave one out"
            )));
        }
        let mut inputs = vec![("MODEL", &*args.model), ("--input", &*args.input)];
        inputs.extend(args.network.as_deref().map(|path| ("--network", path)));
        check_output("--output ", &args.output, &inputs)?;
        let network = args.network.as_deref().map(declaration).transpose()?;
        files::check_writable(&args.output)?;
        Ok(Self {
            model: args.model,
            input: args.input,
            output: args.output,
            cell: args.cell,
            nonlinearity: args.nonlinearity,
            batch_first: args.batch_first,
            trace: args.trace,
            network,
        })
    }
}

/// A conversion that can be tried.
#[derive(Debug)]
pub struct ConvertPlan {
    pub input: PathBuf,
    pub output: PathBuf,
    pub format: Format,
    pub options: ConvertOptions,
    pub network: Option<Declaration>,
}

impl ConvertPlan {
    pub fn new(args: ConvertArgs) -> Result<Self, Failure> {
        let output = &args.output;
        let Some(format) = Format::of_path(output) else {
            return Err(Failure::Input(format!(
                "{}: the end of the name does not tell the format; end it in .safetensors, .pt or .pth",
                output.display()
            )));
        };
        let mut inputs = vec![("IN", &*args.input)];
        inputs.extend(args.network.as_deref().map(|path| ("--network", path)));
        check_output("", output, &inputs)?;
        if output.exists() && !args.force {
            return Err(Failure::Input(format!(
                "{}: there is such a file; --force replaces it, another name keeps it",
                output.display()
            )));
        }
        let network = args.network.as_deref().map(declaration).transpose()?;
        files::check_writable(output)?;
        Ok(Self {
            format,
            options: ConvertOptions {
                precision: args.dtype.map(Into::into),
                prefix_strip: args.prefix_strip.unwrap_or_default(),
                prefix_add: args.prefix_add.unwrap_or_default(),
            },
            input: args.input,
            output: args.output,
            network,
        })
    }
}

/// An explanation that can be tried.
#[derive(Debug)]
pub struct ExplainPlan {
    pub model: Option<PathBuf>,
    pub request: Request,
    /// The activation, where it is asked for.
    pub nonlinearity: Option<RnnActivation>,
    /// Whether a configuration is asked for.
    pub configured: bool,
    /// The file that `--input` names, where it names one.
    pub table: Option<PathBuf>,
    pub view: View,
    pub html: Option<PathBuf>,
}

/// The first flag that was given.
pub fn first<'a>(flags: &[(&'a str, bool)]) -> Option<&'a str> {
    let given = flags.iter().find(|(_, given)| *given);
    given.map(|(flag, _)| *flag)
}

impl ExplainPlan {
    pub fn new(args: ExplainArgs, common: &Common) -> Result<Self, Failure> {
        if args.model.is_some() {
            let own = [
                ("--cell", args.cell.is_some()),
                ("--hidden", args.hidden.is_some()),
                ("--layers", args.layers.is_some()),
                ("--bidirectional", args.bidirectional),
                ("--readout", args.readout.is_some()),
                ("--two-biases", args.two_biases),
            ];
            if let Some(flag) = first(&own) {
                return Err(Failure::Input(format!(
                    "{flag}: the model file says what the network is; leave one out"
                )));
            }
            if common.seed.is_some() {
                return Err(Failure::Input(
                    "--seed: the model file has the parameters, so none are drawn; leave one out"
                        .into(),
                ));
            }
        }
        let of_steps = [("--step", args.step.is_some()), ("--full", args.full)];
        if let (Some(flag), Some(OnlyArg::Shapes)) = (first(&of_steps), args.only) {
            return Err(Failure::Input(format!(
                "{flag}: shapes are the same at every step, and there are no numbers in them; leave one out"
            )));
        }
        let parts = [
            ("--step", args.step.is_some()),
            ("--full", args.full),
            ("--only", args.only.is_some()),
        ];
        if let (Some(flag), true) = (first(&parts), args.html.is_some()) {
            return Err(Failure::Input(format!(
                "{flag}: it chooses what the terminal shows, and the page of --html always has all of it, with a slider over the steps; leave one out"
            )));
        }
        if let (Some(flag), true) = (first(&parts), args.check) {
            return Err(Failure::Input(format!(
                "{flag}: --check shows the finite differences of all gradients of all steps, and nothing else; leave one out"
            )));
        }
        let checked = [("--check", args.check)];
        if let (Some(flag), true) = (first(&parts).or(first(&checked)), common.json) {
            return Err(Failure::Input(format!(
                "{flag}: it chooses what the terminal shows, and --json always prints all of it, the check as `check`; leave one out"
            )));
        }
        // A number may have letters too: 1e3.
        let word = |w: &str| w.chars().any(char::is_alphabetic) && w.parse::<f64>().is_err();
        let ends = |c: char| c.is_whitespace() || [',', ';'].contains(&c);
        let words = |text: &str| text.split(ends).any(word);
        let table = args.input.as_deref().filter(|text| words(text));
        let table = table.map(PathBuf::from);
        if let Some(html) = &args.html {
            let mut inputs = vec![];
            inputs.extend(args.model.as_deref().map(|path| ("MODEL", path)));
            inputs.extend(table.as_deref().map(|path| ("--input", path)));
            check_output("--html ", html, &inputs)?;
            if html.exists() && !args.force && !files::is_own_page(html) {
                return Err(Failure::Input(format!(
                    "--html {}: this file was not written by elman; --force replaces it, another name keeps it",
                    html.display()
                )));
            }
            files::check_writable(html)?;
        }
        let default = Request::default();
        let request = Request {
            cell: args.cell.map_or(default.cell, CellKind::from),
            hidden: args.hidden.unwrap_or(default.hidden),
            layers: args.layers.unwrap_or(default.layers),
            bidirectional: args.bidirectional,
            configuration: args.configuration.map_or(default.configuration, Into::into),
            last_state: args.readout == Some(crate::args::ReadoutArg::LastState),
            nonlinearity: args.nonlinearity.map_or(default.nonlinearity, Into::into),
            two_biases: args.two_biases,
            seed: common.seed.unwrap_or(0),
            lr: args.lr.unwrap_or(default.lr),
            set: args.set,
            input: args.input,
            table: None,
            target: args.target,
            scale: args.scale,
        };
        Ok(Self {
            model: args.model,
            request,
            nonlinearity: args.nonlinearity.map(Into::into),
            configured: args.configuration.is_some(),
            table,
            view: View {
                step: args.step,
                full: args.full,
                only: args.only.map_or_else(Default::default, Into::into),
                check: args.check,
                ..View::default()
            },
            html: args.html,
        })
    }
}

/// A benchmark that can be tried.
#[derive(Debug)]
pub struct BenchPlan {
    pub cases: Vec<Case>,
    pub options: Options,
    /// The grid is asked for as it is, and so is the roof.
    pub with_roof: bool,
}

impl BenchPlan {
    pub fn new(args: BenchArgs, common: &Common) -> Result<Self, Failure> {
        let cell = args.cell.map(CellKind::from);
        let sizes = [
            ("--seq-len", args.seq_len),
            ("--batch", args.batch),
            ("--input-size", args.input_size),
            ("--hidden-size", args.hidden_size),
        ];
        let mut own = sizes.iter().filter_map(|(flag, n)| n.map(|_| *flag));
        let own = own
            .next()
            .or(args.layers.map(|_| "--layers"))
            .or(args.bidirectional.then_some("--bidirectional"));
        if let (Some(flag), Some(row)) = (own, args.row.first()) {
            return Err(Failure::Input(format!(
                "{flag}: the row {} has sizes of its own; leave one out, --row or the sizes",
                row.name()
            )));
        }
        if args.quick && args.runs.is_some() {
            return Err(Failure::Input(
                "--quick: --runs says how many runs there are; leave one out".into(),
            ));
        }
        // Fewer bytes a weight are for inference alone.
        let mode = match args.weights {
            Storage::Full => args.mode,
            _ => args.mode.or(Some(Mode::Infer)),
        };
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let options = Options {
            threads: common.threads.unwrap_or_else(|| cores().min(1024)),
            seed: common.seed.unwrap_or(0),
            runs: args.runs,
            quick: args.quick,
            weights: args.weights,
        };
        options.check()?;
        let with_roof = own.is_none() && args.row.is_empty();
        let cases = if own.is_some() {
            let missing = |flag: &str| {
                Failure::Input(format!(
                    "{flag} is missing: sizes of your own need --cell, --mode, --seq-len, --batch, --input-size and --hidden-size"
                ))
            };
            let cell = cell.ok_or_else(|| missing("--cell"))?;
            let mode = mode.ok_or_else(|| missing("--mode"))?;
            let mut needed = [0; 4];
            for (to, (flag, size)) in needed.iter_mut().zip(sizes) {
                *to = size.ok_or_else(|| missing(flag))?;
            }
            let [seq_len, batch, input_size, hidden_size] = needed;
            let sizes = Sizes {
                seq_len,
                batch,
                input_size,
                hidden_size,
                layers: args.layers.unwrap_or(1),
                bidirectional: args.bidirectional,
            };
            vec![Case::new(cell, mode, sizes)?]
        } else if args.row.is_empty() {
            Case::grid(&Row::ALL, cell, mode)
        } else {
            Case::grid(&args.row, cell, mode)
        };
        if cases.is_empty() && args.weights != Storage::Full {
            return Err(Failure::Input(format!(
                "--weights {}: weights are kept so in inference only, which none of these rows has; choose other rows",
                args.weights.name()
            )));
        }
        if cases.is_empty() {
            return Err(Failure::Input(
                "--row: none of these rows has that --cell and --mode; end-to-end is an lstm in train, and a row of one sequence is never packed".into(),
            ));
        }
        if options.weights != Storage::Full
            && let Some(case) = cases.iter().find(|case| case.mode() != Mode::Infer)
        {
            return Err(Failure::Input(format!(
                "--weights {}: --mode {} reads the weights as they are; choose --mode infer",
                options.weights.name(),
                case.mode().name()
            )));
        }
        Ok(Self {
            cases,
            options,
            with_roof,
        })
    }
}

/// That the output is none of the inputs, no folder, and no link to nowhere.
fn check_output(flag: &str, output: &Path, inputs: &[(&str, &Path)]) -> Result<(), Failure> {
    let shown = format!("{flag}{}", output.display());
    if let Some((of, _)) = inputs.iter().find(|(_, path)| files::same(path, output)) {
        return Err(Failure::Input(format!(
            "{shown}: this is the file of {of}; name another"
        )));
    }
    let refused = |why: &dyn std::fmt::Display| Err(Failure::Input(format!("{shown}: {why}")));
    match fs::metadata(output) {
        Ok(about) if about.is_dir() => refused(&"this is a folder; name a file in it"),
        // A new file would take the place of the pipe or device.
        Ok(about) if !about.is_file() => refused(&"this is not a regular file; name one"),
        Err(e) if e.kind() == io::ErrorKind::InvalidFilename => refused(&e),
        Err(_) if files::is_dangling(output) => refused(&files::DANGLING),
        _ => Ok(()),
    }
}

/// The layers that a file of TOML declares.
fn declaration(path: &Path) -> Result<Declaration, Failure> {
    /// More than any network is described by.
    const LONGEST: u64 = 1 << 20;
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::Input(format!("--network {}: {why}", path.display()))
    };
    let about = fs::metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => wrong(&"there is no such file; check the path"),
        _ => wrong(&format!("cannot be read: {e}")),
    })?;
    if !about.is_file() || about.len() > LONGEST {
        return Err(wrong(&"expected a file with a few lines of TOML"));
    }
    let text = fs::read(path).map_err(|e| wrong(&format!("cannot be read: {e}")))?;
    let text = std::str::from_utf8(&text).map_err(|_| {
        wrong(&"not UTF-8 text; expected a few lines of TOML, a [[layer]] for each layer")
    })?;
    Declaration::parse(text)
        .map_err(|e| Failure::from(e.at(format_args!("--network {}", path.display()))))
}
