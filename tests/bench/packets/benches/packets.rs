//! The time that each step takes.

use divan::Bencher;
use packets::Step;

fn main() {
    divan::main();
}

fn names() -> Vec<String> {
    Step::all().into_iter().map(|step| step.name).collect()
}

#[divan::bench(args = names())]
fn step(bencher: Bencher<'_, '_>, name: &String) {
    let mut steps = Step::all();
    if let Some(step) = steps.iter_mut().find(|step| step.name == *name) {
        bencher.bench_local(|| step.run());
    }
}
