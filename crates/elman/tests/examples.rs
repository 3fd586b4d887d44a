//! What the examples claim.

#![allow(dead_code)] // their `main`, and what only it prints

#[path = "../examples/many_to_many.rs"]
mod many_to_many;
#[path = "../examples/many_to_one.rs"]
mod many_to_one;
#[path = "../examples/one_to_many.rs"]
mod one_to_many;
#[path = "../examples/own_cell.rs"]
mod own_cell;
#[path = "../examples/stacked.rs"]
mod stacked;
#[path = "../examples/tagging.rs"]
mod tagging;
#[path = "../examples/worked_example.rs"]
mod worked_example;

use elman::train::{Control, Ended};

/// How often the last loss is in the first.
fn fall(losses: &[f64]) -> f64 {
    losses[0] / losses[losses.len() - 1]
}

#[test]
fn the_worked_example_predicts_what_it_never_saw() {
    let outcome = worked_example::run().unwrap();
    assert!((outcome.prediction - 100.0).abs() < 1.0);
    assert!(fall(&outcome.losses) > 1e4);
    let (y, loss) = outcome.first;
    assert!((loss - (y - 0.4).powi(2)).abs() < 1e-15);
    assert_eq!(outcome.states.len(), 3);
    let shapes: Vec<_> = outcome.gradients.iter().map(|(_, s, _)| &s[..]).collect();
    assert_eq!(shapes, [&[2, 1][..], &[2, 2], &[2], &[1, 6], &[1]]);
    assert!(outcome.gradients.iter().all(|(_, _, norm)| *norm > 0.0));
}

#[test]
fn moods_of_unseen_scenes_are_found() {
    let outcome = many_to_one::run().unwrap();
    assert!(outcome.accuracy > 0.95, "{}", outcome.accuracy);
    assert!(fall(&outcome.losses) > 10.0);
}

#[test]
fn feelings_become_their_lines() {
    let outcome = one_to_many::run().unwrap();
    assert!(fall(&outcome.losses) > 100.0);
    let each = outcome.written.len() / one_to_many::LINES.len();
    for (n, (_, line)) in outcome.written.iter().enumerate() {
        assert_eq!(line, one_to_many::LINES[n / each].1);
    }
}

#[test]
fn a_year_ahead_is_better_than_the_last_year() {
    let outcome = many_to_many::run().unwrap();
    let [network, naive] = outcome.errors;
    assert!(network < 0.8 * naive, "{network} {naive}");
    assert_eq!(outcome.last.len(), 12);
    assert!(fall(&outcome.losses) > 50.0);
}

#[test]
fn peaks_need_both_directions() {
    let [both, forward] = tagging::run().unwrap().accuracy;
    assert!(both > 0.95 && forward < 0.9, "{both} {forward}");
}

#[test]
fn a_cell_of_ones_own_learns() {
    let outcome = own_cell::run().unwrap();
    assert!(outcome.derivative < 1e-8, "{:e}", outcome.derivative);
    assert!(outcome.accuracy > 0.93, "{}", outcome.accuracy);
    assert!(fall(&outcome.losses) > 5.0);
    assert_eq!(outcome.names[3], "rnn.leak_l0");
}

#[test]
fn a_stack_is_watched_and_stopped_early() {
    let mut seen = 0;
    let outcome = stacked::run(&mut |_| {
        seen += 1;
        Control::Continue
    })
    .unwrap();
    let (ended, best) = outcome.ended;
    assert_eq!(ended, Ended::Early);
    assert_eq!(seen, outcome.losses.len());
    assert_eq!(seen, best + 1 + 15);
    assert!(outcome.losses[0] > 50.0 * outcome.losses[best]);
    assert!(outcome.test_loss < 2.0 * outcome.losses[best]);
    assert!(outcome.warnings[0].len() == 1 && outcome.warnings[1].is_empty());

    let stop = &mut |_: &_| Control::Stop;
    assert_eq!(stacked::run(stop).unwrap().ended, (Ended::Asked, 0));
}
