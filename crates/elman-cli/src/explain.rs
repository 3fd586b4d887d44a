//! `elman explain`: a training step, number by number.

use crate::console::Console;
use crate::failure::Failure;
use crate::files;
use crate::plan::{ExplainPlan, first};
use crate::progress::Watching;
use crate::weights::Weights;
use elman::network::NetworkConfig;
use elman::weights::{METADATA_KEY, TensorFile};
use elman_explain::Subject;
use elman_explain::numbers::parse_table;
use elman_explain::render::page;
use elman_explain::render::terminal::{self, Only, View};
use elman_explain::setup::{self, Request};
use elman_explain::subject::{Forecast, Names};
use elman_explain::text::short;
use elman_explain::trace::{self, Trace};
use elman_explain::words::Note;
use elman_forecast::model::ForecastModel;
use elman_forecast::options::Loss;
use std::fs;
use std::path::Path;

/// More than any input that is explained.
const LONGEST: u64 = 1 << 20;

pub fn run(plan: &ExplainPlan, console: &Console) -> Result<(), Failure> {
    let view = View {
        colour: console.paint.colour,
        width: usize::from(console.paint.width.max(60)),
        ..plan.view
    };
    let subject = subject(plan, console)?;
    if view.only == Only::Shapes {
        return console.print(&terminal::tensors(&trace::shapes(&subject)?, view));
    }
    let watching = Watching::new(*console);
    let trace = Trace::with_progress(&subject, &mut |at| watching.show(at));
    watching.finish();
    let trace = trace?;
    view.check(&trace)?;
    if let Some(path) = &plan.html {
        files::create_folder_of(path)?;
        files::write(path, page::html(&trace).as_bytes())?;
    }
    if console.json {
        return console.print_json(&trace);
    }
    if let Some(path) = &plan.html {
        if !console.quiet {
            console.print(&format!("wrote {}\n", path.display()))?;
        }
        if !view.check {
            return Ok(());
        }
    }
    console.print(&terminal::render(&trace, view)?)
}

fn subject(plan: &ExplainPlan, console: &Console) -> Result<Subject, Failure> {
    let Some(path) = &plan.model else {
        let request = request(plan)?;
        return Ok(match plan.view.only {
            Only::Shapes => request.outline()?,
            _ => request.subject()?,
        });
    };
    let mut file = Weights::open(path)?;
    let wrong = |e: elman::Error| Failure::from(e.at(path.display()));
    let torch = file.is_torch();
    let tensors = file.tensors()?.widened();
    if tensors.metadata(METADATA_KEY).is_none() {
        let subject = request(plan)?.of_torch(&tensors, plan.nonlinearity);
        return subject
            .map(|s| stored(s, path, &tensors, torch))
            .map_err(wrong);
    }
    let told = [
        ("--nonlinearity", plan.nonlinearity.is_some()),
        ("--configuration", plan.configured),
    ];
    if let Some(flag) = first(&told) {
        return Err(Failure::Input(format!(
            "{flag}: the model file says what the network is; leave one out"
        )));
    }
    let (network, params) = setup::open(&tensors).map_err(wrong)?;
    if let Some(NetworkConfig::Sequence(config)) = network.config()
        && config.skip.is_some()
    {
        let subject = forecaster(plan, path, console)?;
        return Ok(stored(subject, path, &tensors, false));
    }
    let subject = request(plan)?.of_model(network, params);
    subject
        .map(|s| stored(s, path, &tensors, false))
        .map_err(wrong)
}

/// The subject, with what is to be known of its file.
fn stored(mut subject: Subject, path: &Path, tensors: &TensorFile<'_>, torch: bool) -> Subject {
    let file = subject.names.file.get_or_insert_default();
    (file.path, file.torch) = (path.display().to_string(), torch);
    let mut names = tensors.names().into_iter();
    file.scaled = names.any(|name| tensors.stored(name).as_deref() == Some("I8"));
    subject
}

/// A model of `elman forecast` over the newest window of a table.
fn forecaster(plan: &ExplainPlan, path: &Path, console: &Console) -> Result<Subject, Failure> {
    let model = ForecastModel::load(path)?;
    let target = &model.plan().target;
    let Some(table) = &plan.table else {
        return Err(Failure::Input(format!(
            "--input: expected a table with the column {target}, like --input new.csv, since {} is a model of elman forecast",
            path.display()
        )));
    };
    if plan.request.target.is_some() || plan.request.scale.is_some() {
        let flag = if plan.request.target.is_some() {
            "--target"
        } else {
            "--scale"
        };
        return Err(Failure::Input(format!(
            "{flag}: a model of elman forecast has it from the table and its own file; leave it out"
        )));
    }
    let window = model.newest_window(table)?;
    for note in &window.notes {
        console.note(note);
    }
    let plan_of = model.plan();
    let (truth, steps) = (window.target.len(), &window.steps);
    let known = steps.len() - truth;
    let mut notes = vec![
        Note::new(
            match truth {
                1 => "note_window_one",
                _ => "note_window",
            },
            [
                ('n', known.to_string()),
                ('k', (known + 1).to_string()),
                ('m', steps.len().to_string()),
                ('a', steps[0].clone()),
                ('b', steps[known - 1].clone()),
                ('c', steps[known].clone()),
                ('d', steps[steps.len() - 1].clone()),
            ],
        ),
        Note::new(
            "note_units",
            [
                ('n', target.clone()),
                ('c', short(window.centre)),
                ('s', short(window.spread)),
            ],
        ),
    ];
    if plan_of.members > 1 {
        notes.push(Note::new(
            "note_first",
            [('n', plan_of.members.to_string())],
        ));
    }
    if plan_of.loss != Loss::Mse {
        notes.push(Note::new("note_loss", [('l', plan_of.loss.to_string())]));
    }
    // The first feature of a step is what is forecast.
    let past = window.input.column(0);
    let past = past.iter().take(known).map(|x| f64::from(*x));
    let forecast = Forecast {
        name: target.clone(),
        centre: window.centre,
        spread: window.spread,
        known: past.map(|x| window.centre + window.spread * x).collect(),
    };
    let subject = Subject {
        network: window.network.build()?,
        params: setup::widened(&window.params)?,
        input: window.input.mapv(f64::from),
        bare: false,
        skip: Some(window.skip.into_iter().map(f64::from).collect()),
        target: window.target.into_iter().map(f64::from).collect(),
        lr: plan.request.lr,
        scale: 1.0,
        seed: None,
        names: Names {
            steps: window.steps,
            features: window.features,
            beside: window.beside,
            forecast: Some(forecast),
            notes,
            ..Names::default()
        },
    };
    let subject = plan.request.of(subject);
    subject.map_err(|e| Failure::from(e.at(path.display())))
}

/// What is asked for, with the numbers of the file that `--input` names.
fn request(plan: &ExplainPlan) -> Result<Request, Failure> {
    let mut request = plan.request.clone();
    if let Some(path) = &plan.table {
        let what = format!("--input {}", path.display());
        request.table = Some(parse_table(&what, &text_of(path)?)?);
    }
    Ok(request)
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let wrong =
        |why: &dyn std::fmt::Display| Failure::Input(format!("--input {}: {why}", path.display()));
    let about = fs::metadata(path).map_err(|_| {
        wrong(
            &"this is neither numbers, like \"10 20 30\", nor a file that there is; check the path",
        )
    })?;
    if !about.is_file() || about.len() > LONGEST {
        return Err(wrong(&"expected a file of at most 1 MB with numbers"));
    }
    let bytes = fs::read(path).map_err(|e| wrong(&e))?;
    // No text has a zero in it; UTF-16 has many.
    let text = String::from_utf8(bytes).ok().filter(|t| !t.contains('\0'));
    text.ok_or_else(|| {
        wrong(&"this is no text; expected numbers in UTF-8, a line for each step, and a model file before --input, as MODEL")
    })
}
