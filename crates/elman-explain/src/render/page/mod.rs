//! A trace as one self-contained page: no network, no other file. Its script
//! shows what the trace holds and computes none of it.

mod data;

pub use data::packed;

use crate::trace::Trace;
use crate::words::WORDS;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Begins the generator's meta tag, by which a page of elman's is known.
const GENERATOR: &str = "<meta name=\"generator\" content=\"elman ";
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
    viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='3' fill='%231f5fbf'/%3E\
    %3Cpath d='M3 8h6a3 3 0 1 0-3-3' fill='none' stroke='%23fff' stroke-width='1.8'/%3E%3C/svg%3E";

/// The page. The same trace gives the same bytes.
pub fn html(trace: &Trace) -> String {
    let data = data::data(trace);
    let steps = trace.about.steps;
    let last = trace.training.len().saturating_sub(1);
    let readable = trace.about.readable;
    let word = |key: &'static str| -> Markup {
        html! { span data-w=(key) {} }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                (PreEscaped(GENERATOR)) (env!("CARGO_PKG_VERSION")) (PreEscaped("\">"))
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
                title { "elman explain" }
                link rel="icon" href=(PreEscaped(ICON));
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        div {
                            h1 data-w=(if readable { "title" } else { "large_title" }) {}
                            p.sub #network {}
                        }
                        div.tools style="flex:none" {
                            button.btn #lang data-w="language" {}
                            button.btn #theme data-label="theme" { "◐" }
                        }
                    }
                    p #intro {}
                    dl.tiles #tiles {}
                    div.soft #notes {}
                    @if trace.about.forecast.is_some() {
                        section {
                            h2 #outlook_title {}
                            p.soft data-w="outlook_note" {}
                            div.card #outlook {}
                            div #outlook_table {}
                        }
                    }
                    @if readable {
                        div.controls {
                            label { (word("time_step"))
                                input #step type="range" min="0" max=(steps) value="0";
                                output #step_out {} }
                            label { (word("train_step"))
                                input #frame type="range" min="0" max=(last) value="0";
                                output #frame_out { "0" } }
                        }
                    }
                    @if readable { (numbers()) }
                    section {
                        h2 data-w="heat" {}
                        p.soft #heat_note {}
                        div.heats #heats {}
                    }
                    section {
                        h2 data-w="connect" {}
                        p.soft #connect_note {}
                        div #connect {}
                        @if trace.connectivity.beside.is_some() {
                            h3 data-w="beside" {}
                            p.soft data-w="beside_note" {}
                            div #beside {}
                        }
                    }
                    section {
                        h2 data-w="norms" {}
                        p.soft data-w="norms_note" {}
                        div #norms {}
                    }
                    @if readable {
                        section {
                            h2 data-w="landscape" {}
                            p.soft data-w="landscape_note" {}
                            div.controls {
                                label { (word("weight")) select #weight {} }
                                button.btn #roll data-w="roll" {}
                            }
                            div.card #landscape {}
                        }
                    }
                    section {
                        h2 data-w="loss_curve" {}
                        div.card #losses {}
                    }
                    section {
                        h2 data-w="shapes" {}
                        p.soft data-w="shapes_note" {}
                        div.card.scroll #shapes tabindex="0" data-label="shapes" {}
                    }
                    @if readable {
                        section {
                            h2 data-w="check" {}
                            p.soft #check_note {}
                        }
                    }
                    section {
                        h2 data-w="questions" {}
                        @for (q, a) in [("q1", "a1"), ("q2", "a2"), ("q3", "a3"), ("q4", "a4"), ("q5", "a5"), ("q6", "a6")] {
                            details id=(q) { summary data-w=(q) {} p data-w=(a) {} p.here {} }
                        }
                    }
                    section {
                        h2 data-w="code" {}
                        button.btn #copy data-w="copy" aria-live="polite" {}
                        pre.scroll tabindex="0" { code #codetext {} }
                    }
                    aside.card.tipbox #tip role="tooltip" aria-live="polite" hidden {}
                    footer { (word("made")) " elman " (env!("CARGO_PKG_VERSION")) }
                }
                script #data type="application/json" { (PreEscaped(embedded(&data.to_string()))) }
                script #words type="application/json" { (PreEscaped(embedded(WORDS))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The network and its numbers.
fn numbers() -> Markup {
    html! {
        section {
            h2 data-w="network" {}
            p.soft data-w="network_note" {}
            div.controls #player {
                span.soft data-w="play" {}
                div.group {
                    @for (pass, key) in [("forward", "play_forward"), ("backward", "play_backward"), ("update", "play_update")] {
                        button.btn data-play=(pass) { i.icon.play {} " " span data-w=(key) {} }
                    }
                }
                div.group {
                    button.btn data-by="-1" { i.icon.back {} " " span data-w="one_back" {} }
                    button.btn data-by="1" { span data-w="one_on" {} " " i.icon.play {} }
                }
                span.soft data-w="player_keys" {}
            }
            p.playing #playing {}
            div.card.scroll #sketch {}
            p.directions #directions {}
        }
        section {
            h2 data-w="numbers" {}
            div.lab {
                div {
                    h3 data-w="given" {}
                    div.values #given {}
                    div.controls { div.group {
                        @for pass in ["forward", "backward", "update"] {
                            button.btn data-pass=(pass) data-w=(pass) {}
                        }
                    } }
                    div #list {}
                }
                aside.card.inspector #inspector {
                    div.foldline { span #folded {} button.btn #fold aria-controls="inside" {} }
                    div.inside #inside aria-live="polite" data-label="formula" {}
                    p.soft.more #more {}
                }
            }
        }
    }
}

/// Text that cannot end the script element that it stands in.
fn embedded(json: &str) -> String {
    json.replace('<', "\\u003c")
}
