//! `packets NAME COUNT`: does one step so often, for callgrind; without arguments, says which there are.

use anyhow::{Context as _, Result};
use packets::Step;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut steps = Step::all();
    let [name, count] = arguments.as_slice() else {
        for step in steps {
            say(&step.name);
        }
        return Ok(());
    };
    let step = steps.iter_mut().find(|step| step.name == *name);
    let step = step.with_context(|| format!("there is no step {name:?}"))?;
    for _ in 0..count.parse::<u32>().context("COUNT")? {
        step.run();
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is for the reader")]
fn say(line: &str) {
    println!("{line}");
}
