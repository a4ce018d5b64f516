//! Alone in its process, since it trims the pools of everybody.

use std::time::Duration;

use vedette_memory::pool::{BufferPool, Options, trim_aged, trim_all};

#[test]
fn every_pool_of_the_process_is_trimmed_at_once() {
    let hasty = BufferPool::new(Options { trim_after: Duration::ZERO, ..Options::default() });
    let pools = [hasty, BufferPool::new(Options::default()), vedette_memory::default_pool().clone()];
    let fill = || pools.iter().for_each(|pool| drop(pool.acquire(5 << 20).unwrap()));
    let held = || pools.each_ref().map(|pool| pool.stats().held);
    fill();
    assert_eq!(trim_aged(), 5 << 20);
    assert_eq!(held(), [0, 5 << 20, 5 << 20]);
    assert_eq!(trim_all(Duration::ZERO), 10 << 20);
    assert_eq!(held(), [0, 0, 0]);
    fill();
    let [first, ..] = &pools;
    drop(first.clone());
    assert_eq!(trim_all(Duration::ZERO), 15 << 20);
}
