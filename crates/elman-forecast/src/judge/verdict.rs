//! The result of a backtest in plain words.

use crate::outcome::MethodScore;

/// Says in one to three sentences whether the network is worth using: against
/// the best of the naive methods and against ridge regression, by mean absolute
/// error, and whether the 80 % intervals held where errors were made at all.
///
/// `methods` are those of `Backtest::methods`, found by name: `elman`, `ridge`,
/// and the naive ones, which are all others. A method that could not be scored
/// is left out. Methods whose errors differ by 1 % or less are level; "A is
/// better than B by p %" means that the error of A is p % below that of B.
///
/// ```
/// use elman_forecast::metrics::Tally;
/// use elman_forecast::verdict::verdict;
///
/// let methods = [("elman", 4.0), ("naive", 5.0), ("ridge", 3.0)].map(|(name, forecast)| {
///     let mut tally = Tally::new(1);
///     tally.add_origin(&[0.0], &[forecast], &[]);
///     tally.method(name, None)
/// });
/// assert_eq!(
///     verdict(&methods),
///     "By mean absolute error on the test part, elman is 20 % better than naive (the best naive \
///      method), but ridge is better here by 25 %: use it.",
/// );
/// ```
pub fn verdict(methods: &[MethodScore]) -> String {
    let elman = methods.iter().find(|m| m.name == "elman");
    let Some((elman, own)) = elman.and_then(|m| Some((m, m.scores.mae?))) else {
        return "Nothing could be scored: the test part holds no value to compare forecasts \
                with, so how good this forecast is remains unknown."
            .to_string();
    };
    let rivals = methods.iter().filter_map(|m| {
        let rival = |label| {
            Some(Rival {
                name: &m.name,
                label,
                mae: m.scores.mae?,
            })
        };
        match m.name.as_str() {
            "elman" => None,
            "ridge" => rival("ridge".to_string()),
            naive => rival(format!("{naive} (the best naive method)")),
        }
    });
    let (ridge, naive): (Vec<Rival>, Vec<Rival>) = rivals.partition(|r| r.name == "ridge");
    let best_naive = naive.into_iter().min_by(|a, b| a.mae.total_cmp(&b.mae));
    let mut rivals: Vec<Rival> = best_naive.into_iter().chain(ridge).collect();
    rivals.sort_by(|a, b| a.mae.total_cmp(&b.mae));

    let comparison = compare(own, &rivals);
    match elman.scores.coverage_80 {
        // Where no error was made an interval may have no width: nothing to judge.
        Some(held) if own > 0.0 => format!("{comparison} {}", intervals(held)),
        _ => comparison,
    }
}

struct Rival<'a> {
    name: &'a str,
    label: String,
    mae: f64,
}

/// `rivals`: the best naive method and ridge, as far as scored, the better one
/// first.
fn compare(own: f64, rivals: &[Rival]) -> String {
    let Some((best, others)) = rivals.split_first() else {
        return "No other method could be scored, so there is nothing to hold elman against."
            .to_string();
    };
    if own == 0.0 && rivals.iter().all(|rival| rival.mae == 0.0) {
        return format!(
            "elman and {} both forecast the test part without an error: use {}, the simpler one.",
            best.label, best.name
        );
    }
    let relation = |rival: &Rival| Relation::of(own, rival.mae);
    let against = |rival: &Rival| match relation(rival) {
        Relation::Better(p) => format!("{p} % better than {}", rival.label),
        Relation::Level => format!("level (within 1 %) with {}", rival.label),
        Relation::Worse(p) => format!("{p} % worse than {}", rival.label),
    };
    let place = "By mean absolute error on the test part,";
    let all = || rivals.iter().map(against).collect::<Vec<_>>().join(" and ");
    match (relation(best), others) {
        (Relation::Worse(p), []) => {
            format!("{place} {} is better here by {p} %: use it.", best.label)
        }
        (Relation::Worse(p), [other, ..]) => {
            let (link, still) = match relation(other) {
                Relation::Better(_) => ("but", ""),
                Relation::Level => ("and", ""),
                Relation::Worse(_) => ("and", "still "),
            };
            format!(
                "{place} elman is {}, {link} {} is {still}better here by {p} %: use it.",
                against(other),
                best.label
            )
        }
        (Relation::Level, _) => format!(
            "{place} elman is {}. {} is simpler and does as well.",
            all(),
            best.name
        ),
        (Relation::Better(_), _) => format!("{place} elman is {}: use elman.", all()),
    }
}

/// Where elman's error stands, with the gap as a share of the larger error.
enum Relation {
    Better(u32),
    Level,
    Worse(u32),
}

impl Relation {
    fn of(own: f64, rival: f64) -> Self {
        let larger = own.max(rival);
        let gap = (own - rival).abs();
        if gap <= 0.01 * larger {
            return Self::Level;
        }
        let percent = (100.0 * gap / larger).round() as u32;
        if own < rival {
            Self::Better(percent)
        } else {
            Self::Worse(percent)
        }
    }
}

fn intervals(held: f64) -> String {
    let (only, judgement) = if held < 0.70 {
        ("only ", ": take them as too narrow")
    } else if held > 0.90 {
        ("", ": they are wider than they need be")
    } else {
        ("", "")
    };
    format!(
        "The 80 % intervals held {only}{:.0} % of the truths{judgement}.",
        100.0 * held
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Scores;

    fn check(methods: &[(&str, Option<f64>)], coverage_80: Option<f64>, expected: &str) {
        let methods: Vec<MethodScore> = methods
            .iter()
            .map(|&(name, mae)| MethodScore {
                name: name.to_string(),
                scores: Scores {
                    mae,
                    coverage_80,
                    ..Scores::default()
                },
                mae_by_step: vec![mae],
            })
            .collect();
        let got = verdict(&methods);
        let told = got.strip_prefix("By mean absolute error on the test part, ");
        assert_eq!(told.unwrap_or(&got), expected);
    }

    #[test]
    fn every_outcome_is_told() {
        let three = |elman, naive, ridge| {
            [
                ("elman", Some(elman)),
                ("naive", Some(99.0)),
                ("window_mean", Some(naive)),
                ("ridge", Some(ridge)),
            ]
        };
        let told = |elman, naive, ridge, expected: &str| {
            check(&three(elman, naive, ridge), None, expected);
        };
        told(
            4.0,
            5.0,
            4.5,
            "elman is 11 % better than ridge and 20 % better than window_mean (the best naive \
             method): use elman.",
        );
        told(
            4.0,
            5.0,
            3.84,
            "elman is 20 % better than window_mean (the best naive method), but ridge is better \
             here by 4 %: use it.",
        );
        told(
            4.0,
            5.0,
            4.03,
            "elman is level (within 1 %) with ridge and 20 % better than window_mean (the best \
             naive method). ridge is simpler and does as well.",
        );
        told(
            5.0,
            4.98,
            2.5,
            "elman is level (within 1 %) with window_mean (the best naive method), and ridge is \
             better here by 50 %: use it.",
        );
        told(
            5.0,
            4.0,
            4.5,
            "elman is 10 % worse than ridge, and window_mean (the best naive method) is still \
             better here by 20 %: use it.",
        );
        told(
            0.0,
            0.0,
            0.0,
            "elman and window_mean (the best naive method) both forecast the test part without \
             an error: use window_mean, the simpler one.",
        );
        told(
            0.5,
            0.0,
            0.25,
            "elman is 50 % worse than ridge, and window_mean (the best naive method) is still \
             better here by 100 %: use it.",
        );
        told(
            0.0,
            0.0,
            1.0,
            "elman is level (within 1 %) with window_mean (the best naive method) and 100 % \
             better than ridge. window_mean is simpler and does as well.",
        );
    }

    #[test]
    fn what_was_not_scored_is_left_out() {
        let nothing = "Nothing could be scored: the test part holds no value to compare \
                       forecasts with, so how good this forecast is remains unknown.";
        check(&[], None, nothing);
        check(&[("naive", Some(1.0))], None, nothing);
        check(&[("elman", None), ("naive", None)], Some(0.8), nothing);
        check(
            &[("elman", Some(1.0)), ("naive", None)],
            None,
            "No other method could be scored, so there is nothing to hold elman against.",
        );
        check(
            &[
                ("elman", Some(1.0)),
                ("naive", Some(2.0)),
                ("drift", None),
                ("ridge", None),
            ],
            None,
            "elman is 50 % better than naive (the best naive method): use elman.",
        );
        check(
            &[("elman", Some(1.0)), ("ridge", Some(0.9))],
            None,
            "ridge is better here by 10 %: use it.",
        );
    }

    #[test]
    fn intervals_are_judged() {
        let ends = |held, expected: &str| {
            check(
                &[("elman", Some(1.0)), ("ridge", Some(2.0))],
                Some(held),
                &format!("elman is 50 % better than ridge: use elman. {expected}"),
            );
        };
        ends(0.781, "The 80 % intervals held 78 % of the truths.");
        ends(
            0.62,
            "The 80 % intervals held only 62 % of the truths: take them as too narrow.",
        );
        ends(
            1.0,
            "The 80 % intervals held 100 % of the truths: they are wider than they need be.",
        );
    }
}
