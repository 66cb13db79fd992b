//! The chart: each workload is a line, and everybody a dot on it, at their part of the server's own
//! speed. What is wanted of the gateway stands there as a stroke.

use std::fmt::Write;

use crate::{
    report::Report,
    rounds::{Measured, median},
    workloads::{BARE, CONNECTIONS, HAPROXY, INSPECTED, MASKED, PGBOUNCER, SLUICEGATE, Workload},
};

const WIDTH: f64 = 880.0;
/// Where the server's speed is nothing, and where it is whole.
const LEFT: f64 = 290.0;
const RIGHT: f64 = 810.0;
const TOP: f64 = 96.0;
const LINE: f64 = 27.0;

/// Who is shown, the class of their dots, and its radius. The server itself is the right end.
const SHOWN: [(&str, &str, f64); 6] = [
    (HAPROXY, "haproxy", 5.0),
    (PGBOUNCER, "pgbouncer", 5.0),
    (BARE, "bare", 5.0),
    (SLUICEGATE, "sluicegate", 6.5),
    (MASKED, "masked", 6.5),
    (INSPECTED, "inspected", 6.5),
];

/// The picture brings its own ground, and both go dark together.
const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .faint { fill: #59636e }
  .ground { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0 }
  .wanted { stroke: #1f2328; stroke-width: 2 }
  .haproxy { fill: #8c959f } .pgbouncer { fill: #218bff }
  .bare { fill: none; stroke: #1a7f37; stroke-width: 2 } .sluicegate { fill: #1a7f37 }
  .masked { fill: #8250df } .inspected { fill: #bf3989 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .faint { fill: #9198a1 } .ground { fill: #0d1117; stroke: #3d444d } .grid { stroke: #3d444d }
    .wanted { stroke: #f0f6fc } .bare { stroke: #3fb950 } .sluicegate { fill: #3fb950 }
    .masked { fill: #ab7df8 } .inspected { fill: #f778ba }
  }
";

/// The chart of a report, as SVG.
pub fn of(report: &Report) -> String {
    // Who keeps the server's connections opens them many times faster than the server does.
    let shown = report.results.iter().filter(|(workload, _)| workload.unit != CONNECTIONS).collect::<Vec<_>>();
    let bottom = TOP + LINE * shown.len() as f64;
    let height = bottom + 44.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Speed as a part of the server's own\">\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
        WIDTH - 1.0,
        height - 1.0
    );
    text(&mut svg, 24.0, 34.0, "title", "start", "Speed as a part of the server's own");
    legend(&mut svg);
    for tenths in (0..=10).step_by(2) {
        let x = place(f64::from(tenths) / 10.0);
        put(&mut svg, &format!("<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{bottom}\"/>", TOP - 10.0));
        text(&mut svg, x, bottom + 20.0, "faint", "middle", &format!("{}%", tenths * 10));
    }
    for (index, (workload, measured)) in shown.into_iter().enumerate() {
        line(&mut svg, TOP + LINE * (index as f64 + 0.5), workload, measured);
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let mut x = 30.0;
    for (who, class, radius) in SHOWN {
        put(svg, &format!("<circle class=\"{class}\" cx=\"{x}\" cy=\"60\" r=\"{radius}\"/>"));
        text(svg, x + 12.0, 64.5, "", "start", who);
        x += 42.0 + 7.0 * who.len() as f64;
    }
    put(svg, &format!("<line class=\"wanted\" x1=\"{x}\" x2=\"{x}\" y1=\"52\" y2=\"68\"/>"));
    text(svg, x + 8.0, 64.5, "", "start", "wanted");
}

fn line(svg: &mut String, y: f64, workload: &Workload, measured: &Measured) {
    text(svg, LEFT - 16.0, y + 4.5, "", "end", workload.title);
    let part = |who| {
        let index = workload.entries.iter().position(|entry| entry.who == who)?;
        Some(median(&measured.ratios(index, 0)))
    };
    for goal in &workload.goals {
        let x = part(goal.beside).map(|rival| place(rival * goal.at_least));
        let x = x.expect("goals name entries");
        put(
            svg,
            &format!("<line class=\"wanted\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"/>", y - 9.0, y + 9.0),
        );
    }
    for (who, class, radius) in SHOWN {
        if let Some(x) = part(who).map(place) {
            put(
                svg,
                &format!(
                    "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"{radius}\"><title>{who}</title></circle>"
                ),
            );
        }
    }
}

/// Where a part of the server's speed stands.
fn place(part: f64) -> f64 {
    // Runs vary: what is through a proxy may be a little faster than what is not.
    LEFT + (RIGHT - LEFT) * part.clamp(0.0, 1.1)
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, anchor: &str, words: &str) {
    put(svg, &format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>"));
}

fn put(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("a string takes everything");
}
