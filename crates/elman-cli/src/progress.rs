//! How far the work is: a bar on a terminal, elsewhere a line a network or a
//! measurement.

use crate::console::Console;
use crate::render::significant;
use elman_explain::progress as explain;
use elman_forecast::learner::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Shows the progress of a training.
pub struct Reporter {
    console: Console,
    bar: Option<ProgressBar>,
    /// The stage and the network shown last.
    shown: Option<(String, usize)>,
}

impl Reporter {
    pub fn new(console: Console) -> Self {
        let visible = !console.quiet && !console.json && std::io::stderr().is_terminal();
        Self {
            console,
            bar: visible.then(bar),
            shown: None,
        }
    }

    /// Says something while the bar may be on the screen; can be called from
    /// anywhere.
    pub fn speaker(&self) -> impl Fn(&str) + Send + 'static {
        let console = self.console;
        let bar = self.bar.clone();
        move |text| match &bar {
            Some(bar) => bar.suspend(|| console.note(text)),
            None => console.note(text),
        }
    }

    /// Shows the state after an epoch.
    pub fn show(&mut self, progress: &Progress) {
        let now = (progress.stage.clone(), progress.member);
        let changed = self.shown.as_ref() != Some(&now);
        let restarted = self.shown.as_ref().is_none_or(|shown| shown.0 != now.0);
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(title(progress));
                bar.set_message(losses(progress));
                bar.set_length((progress.members * progress.epochs) as u64);
                bar.set_position((progress.member * progress.epochs + progress.epoch + 1) as u64);
                if restarted {
                    bar.reset_eta();
                }
                if self.shown.is_none() {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                    bar.tick();
                }
            }
            None if changed => self.console.note(&format!(
                "training the {}: up to {} epochs",
                title(progress),
                progress.epochs
            )),
            None => {}
        }
        self.shown = Some(now);
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar that is drawn from the first epoch on.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix}: {msg}, {eta} left [{wide_bar}]")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::hidden().with_style(style.progress_chars("=> "))
}

/// Shows which of many measurements is under way: on a bar, or a line each.
pub struct Measuring {
    console: Console,
    bar: Option<ProgressBar>,
}

impl Measuring {
    pub fn new(console: Console) -> Self {
        let visible = !console.quiet && !console.json && std::io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{msg} [{wide_bar}] {pos} of {len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = || {
            let bar = ProgressBar::hidden().with_style(style.progress_chars("=> "));
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar
        };
        Self {
            console,
            bar: visible.then(bar),
        }
    }

    /// Shows what comes now, after so many of all.
    pub fn show(&self, what: &str, done: usize, all: usize) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(all as u64);
                bar.set_position(done as u64);
                bar.set_message(what.to_owned());
                bar.tick();
            }
            None => self.console.note(&format!("measuring {what}")),
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows how far long work is, from a second after its beginning on: a bar, or a
/// line for each of its stages. A thread of its own looks, so that the work need
/// not tell anything at that time.
pub struct Watching {
    at: Arc<Mutex<Option<explain::Progress>>>,
    end: mpsc::Sender<()>,
    watcher: thread::JoinHandle<()>,
}

impl Watching {
    /// Before this time nothing is shown.
    const PATIENCE: Duration = Duration::from_secs(1);
    /// How often it is looked after that.
    const EVERY: Duration = Duration::from_millis(100);

    pub fn new(console: Console) -> Self {
        let at = Arc::new(Mutex::new(None));
        let (end, ended) = mpsc::channel();
        let seen = Arc::clone(&at);
        let watcher = thread::spawn(move || {
            let (mut wait, mut said) = (Self::PATIENCE, None);
            let mut bar = None;
            while ended.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
                wait = Self::EVERY;
                let now: Option<explain::Progress> = seen.lock().map_or(None, |at| *at);
                let Some(now) = now else { continue };
                let bar = bar.get_or_insert_with(|| Measuring::new(console));
                if bar.bar.is_some() {
                    bar.show(now.stage.words(), now.done, now.all);
                } else if said != Some(now.stage) {
                    console.note(&format!("explaining: {}", now.stage.words()));
                }
                said = Some(now.stage);
            }
            bar.iter().for_each(Measuring::finish);
        });
        Self { at, end, watcher }
    }

    /// How far it is now.
    pub fn show(&self, now: explain::Progress) {
        if let Ok(mut at) = self.at.lock() {
            *at = Some(now);
        }
    }

    /// Clears the bar.
    pub fn finish(self) {
        drop(self.end);
        let _ = self.watcher.join();
    }
}

fn title(progress: &Progress) -> String {
    if progress.members > 1 {
        format!(
            "{}, {} of {}",
            progress.stage,
            progress.member + 1,
            progress.members
        )
    } else {
        progress.stage.clone()
    }
}

fn losses(progress: &Progress) -> String {
    let loss = progress.valid_loss.unwrap_or(progress.train_loss);
    format!(
        "loss {}, best {}",
        significant(Some(loss)),
        significant(Some(progress.best))
    )
}
