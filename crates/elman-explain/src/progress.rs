//! How far the work on a trace is.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The one training step, forward and back.
    Step,
    /// The training steps after it.
    Training,
    /// The loss along weights.
    Curves,
    /// The finite differences.
    Check,
    /// The gradients of predictions by inputs.
    Connectivity,
}

impl Stage {
    /// In words: `recording training steps`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Step => "tracing the step",
            Self::Training => "recording training steps",
            Self::Curves => "drawing the loss along weights",
            Self::Check => "checking by finite differences",
            Self::Connectivity => "following each prediction to its inputs",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How much of that is done.
    pub done: usize,
    /// Of how much.
    pub all: usize,
}

/// Tells how far a stage is, part by part.
pub(crate) struct Meter<'a> {
    report: &'a mut dyn FnMut(Progress),
    at: Progress,
}

impl<'a> Meter<'a> {
    /// One that begins with the training step.
    pub(crate) fn new(report: &'a mut dyn FnMut(Progress)) -> Self {
        let mut meter = Self {
            report,
            at: Progress {
                stage: Stage::Step,
                done: 0,
                all: 1,
            },
        };
        meter.begin(Stage::Step, 1);
        meter
    }

    /// A stage of so many parts begins.
    pub(crate) fn begin(&mut self, stage: Stage, all: usize) {
        self.at = Progress {
            stage,
            done: 0,
            all,
        };
        (self.report)(self.at);
    }

    /// A part is done.
    pub(crate) fn next(&mut self) {
        self.at.done += 1;
        (self.report)(self.at);
    }
}
