//! Wall time of the hot paths: `cargo bench -p bifrons-load`. Only a quiet host tells the truth.

#[path = "cases.rs"]
mod cases;
#[path = "media.rs"]
mod media;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hot");
    for case in cases::CASES {
        group.throughput(Throughput::Elements(case.operations));
        let mut work = (case.make)();
        group.bench_function(case.name, |bencher| bencher.iter(&mut work));
    }
    group.finish();
}

criterion_group!(benches, hot);
criterion_main!(benches);
