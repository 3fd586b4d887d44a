//! What a trace promises: sums of parts, formulas that give the numbers, finite
//! differences, both languages.

use elman::cell::CellKind;
use elman_explain::norms::Verdict;
use elman_explain::render::page::{self, WORDS};
use elman_explain::render::terminal::{self, View};
use elman_explain::setup::{Configuration, Request, Shape, assign, parse_input};
use elman_explain::trace::Trace;
use elman_explain::trace::graph::Role;
use serde_json::Value;

fn trace(change: impl FnOnce(&mut Request)) -> Trace {
    let mut request = Request::default();
    change(&mut request);
    Trace::new(&request.subject().unwrap()).unwrap()
}

fn grid() -> Vec<Trace> {
    let mut all = Vec::new();
    for cell in CellKind::ALL {
        all.push(trace(|r| r.cell = cell));
        all.push(trace(|r| (r.cell, r.layers, r.hidden) = (cell, 2, 1)));
        all.push(trace(|r| {
            (r.cell, r.bidirectional, r.last_state) = (cell, true, true);
        }));
        for configuration in [Configuration::ManyToMany, Configuration::OneToMany] {
            all.push(trace(|r| (r.cell, r.configuration) = (cell, configuration)));
        }
    }
    for nonlinearity in [Shape::Relu, Shape::Linear] {
        all.push(trace(|r| r.nonlinearity = nonlinearity));
    }
    all
}

/// Tracing itself holds every number against the engine; here each gradient is
/// the finite difference, too, and each state's is the sum of its two parts.
#[test]
fn gradients_are_finite_differences_and_sums_of_their_parts() {
    for t in grid() {
        let name = format!("{} {}", t.about.network, t.about.configuration);
        let check = t.check.as_ref().unwrap();
        assert!(check.largest < 1e-6, "{name}: {check:?}");
        assert!(
            check.numbers > 50 && check.skipped < check.numbers / 4,
            "{name}: {check:?}"
        );
        let mut states = 0;
        for v in t
            .values
            .iter()
            .filter(|v| v.role == Role::State && v.place.layer.is_some())
        {
            let sum = |role| {
                let all = t
                    .values
                    .iter()
                    .filter(|g| g.of == Some(v.id) && g.role == role);
                let all = all.filter(|g| !g.symbol.contains("[via"));
                let parts: Vec<_> = all.collect();
                let sums =
                    (0..v.numbers.len()).map(|i| parts.iter().map(|p| p.numbers[i]).sum::<f64>());
                (parts.len(), sums.collect::<Vec<f64>>())
            };
            let ((parts, sum), (_, total)) = (sum(Role::Share), sum(Role::Gradient));
            assert_eq!(parts, 2, "{name}: {}", v.symbol);
            for (a, b) in sum.iter().zip(&total) {
                assert!(
                    (a - b).abs() <= 1e-15 * b.abs().max(1.0),
                    "{name}: {}",
                    v.symbol
                );
            }
            states += 1;
        }
        assert!(states >= 3, "{name}");
    }
}

/// A gradient that misses a term is found: the check is no formality.
#[test]
fn a_wrong_number_is_told_from_a_right_one() {
    let t = trace(|_| {});
    let v = t.values.iter().find(|v| v.symbol == "dL/dh^1").unwrap();
    let part = t
        .values
        .iter()
        .find(|v| v.symbol == "dL/dh^1[loss]")
        .unwrap();
    for (finite, part) in v.finite.iter().zip(&part.numbers) {
        assert!((finite.unwrap() - part).abs() > 1e-3);
    }
}

#[test]
fn the_same_request_gives_the_same_page_without_outside_links() {
    let once = page::html(&trace(|r| r.cell = CellKind::Gru));
    assert_eq!(once, page::html(&trace(|r| r.cell = CellKind::Gru)));
    assert!(once.len() < 1_000_000);
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!once.contains(outside), "{outside}");
    }
    assert!(trace(|_| {}).training.len() > 50);
}

#[test]
fn every_sentence_is_there_in_both_languages_and_used() {
    let words: Value = serde_json::from_str(WORDS).unwrap();
    let page = concat!(
        include_str!("../src/render/page/page.js"),
        include_str!("../src/render/page/mod.rs")
    );
    for (key, both) in words.as_object().unwrap() {
        let both = both.as_object().unwrap();
        let keys: Vec<_> = both.keys().map(String::as_str).collect();
        assert_eq!(keys, ["en", "ja"], "{key}");
        let places = |text: &str| {
            let mut all: Vec<_> = text
                .match_indices('{')
                .map(|(i, _)| text[i..i + 3].to_owned())
                .collect();
            all.sort();
            all
        };
        let [en, ja] = ["en", "ja"].map(|l| both[l].as_str().unwrap());
        assert!(!en.is_empty() && !ja.is_empty(), "{key}");
        assert_eq!(places(en), places(ja), "{key}");
        let made = ["from_", "vanishing", "healthy", "exploding"];
        let used = page.contains(&format!("\"{key}\"")) || made.iter().any(|m| key.starts_with(m));
        assert!(used, "{key} is not used");
    }
}

#[test]
fn the_terminal_keeps_to_its_columns_and_shows_what_is_asked() {
    for t in grid() {
        let full = View {
            full: true,
            ..View::default()
        };
        let check = View {
            check: true,
            ..View::default()
        };
        for view in [View::default(), full, check] {
            for line in terminal::render(&t, view).unwrap().lines() {
                let words = line.trim().split(' ').count();
                assert!(line.chars().count() <= 80 || words < 3, "{line}");
                assert!(!line.contains('\u{1b}'));
            }
        }
    }
    let t = trace(|_| {});
    let text = terminal::render(
        &t,
        View {
            check: true,
            ..View::default()
        },
    )
    .unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("largest relative difference: "), "{last}");
    let one = terminal::render(
        &t,
        View {
            step: Some(2),
            ..View::default()
        },
    )
    .unwrap();
    assert!(one.contains("h^2 = tanh(a^2)") && !one.contains("h^1 = tanh(a^1)"));
}

#[test]
fn verdicts_follow_their_thresholds() {
    let with = |w: &str| {
        trace(|r| {
            (r.nonlinearity, r.last_state, r.hidden) = (Shape::Linear, true, 1);
            r.input = Some("10 20 30 40 50 60".into());
            r.target = Some("70".into());
            r.set = vec![format!("weight_hh_l0[0,0]={w}")];
        })
    };
    for (w, verdict, factor) in [
        ("0.1", Verdict::Vanishing, 0.1),
        ("0.9", Verdict::Healthy, 0.9),
        ("8", Verdict::Exploding, 8.0),
    ] {
        let norms = &with(w).norms[0];
        assert_eq!(norms.verdict, verdict, "{w}");
        assert!((norms.factor.unwrap() - factor).abs() < 1e-12, "{w}");
    }
}

#[test]
fn the_worked_examples_update_lowers_the_loss() {
    let t = trace(|_| {});
    assert!(t.about.loss_after < t.about.loss);
    let curve = t
        .landscape
        .iter()
        .find(|c| c.name == "head.bias[0]")
        .unwrap();
    let lowest = curve.turns.iter().find(|t| t.minimum && t.global).unwrap();
    let [left, right] = &curve.balls;
    assert!(left[0].slope < 0.0 && left[1].w > left[0].w);
    assert!(right[0].slope > 0.0 && right[1].w < right[0].w);
    for ball in [left, right] {
        assert!((ball.last().unwrap().w - lowest.w).abs() < 0.1);
    }
}

#[test]
fn wrong_words_are_refused_with_the_mend() {
    let refused = |change: &dyn Fn(&mut Request), part: &str| {
        let mut request = Request::default();
        change(&mut request);
        let e = request.subject().unwrap_err().to_string();
        assert!(e.contains(part), "{part:?} in {e}");
    };
    refused(&|r| r.input = Some("1 2".into()), "--target is missing");
    refused(
        &|r| (r.input, r.target) = (Some("1 x".into()), Some("1".into())),
        "`x`",
    );
    refused(
        &|r| (r.input, r.target) = (Some("1 2, 3".into()), Some("1".into())),
        "step 2: expected 2 features",
    );
    refused(
        &|r| r.target = Some("40 50".into()),
        "target: expected 1 numbers",
    );
    refused(
        &|r| r.set = vec!["weight[0,0]=1".into()],
        "rnn.weight_ih_l0, rnn.weight_hh_l0",
    );
    refused(
        &|r| r.set = vec!["weight_hh_l0[2,0]=1".into()],
        "inside the shape [2, 2]",
    );
    refused(&|r| r.set = vec!["weight_hh_l0".into()], "NAME[i,j]=VALUE");
    refused(&|r| r.hidden = 0, "--hidden");
    refused(&|r| r.lr = f64::NAN, "--lr");
    refused(&|r| r.scale = Some(0.0), "--scale");
    refused(
        &|r| (r.cell, r.nonlinearity) = (CellKind::Gru, Shape::Relu),
        "--nonlinearity",
    );
    assert_eq!(parse_input("x", "1 2 3").unwrap().dim(), (3, 1));
    assert_eq!(parse_input("x", "1 2, 3 4\n5 6").unwrap().dim(), (3, 2));
    let mut params = Request::default().subject().unwrap().params;
    assign(&mut params, "rnn.weight_hh_l0[1,0] = 7").unwrap();
    assert_eq!(params.get("rnn.weight_hh_l0").unwrap()[[1, 0]], 7.0);

    let large = trace(|r| r.hidden = 24);
    let full = View {
        full: true,
        ..View::default()
    };
    let e = terminal::render(&large, full).unwrap_err().to_string();
    assert!(e.contains("heat maps") && e.contains("1500"), "{e}");
    let text = terminal::render(&large, View::default()).unwrap();
    assert!(
        text.contains("% saturated") && text.contains("listens to"),
        "{text}"
    );
}
