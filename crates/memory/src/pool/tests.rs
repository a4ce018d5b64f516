use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;

use super::class::LARGEST;
use super::*;
use crate::ALIGNMENT;

const FRAME: usize = 1920 * 1080 * 3;

fn pool() -> BufferPool {
    BufferPool::new(Options::default())
}

fn debug_pool() -> BufferPool {
    BufferPool::new(Options { debug: true, ..Options::default() })
}

/// Nothing is in use, and whatever was taken from the system can be given back.
fn assert_whole(pool: &BufferPool) {
    let stats = pool.stats();
    assert_eq!(stats.current, 0);
    assert!(stats.classes.iter().all(|class| class.current == 0));
    assert_eq!(stats.classes.iter().map(|class| class.free).sum::<usize>(), stats.held);
    assert_eq!(pool.trim(Duration::ZERO), stats.held);
    let stats = pool.stats();
    assert_eq!((stats.held, stats.huge), (0, 0));
    assert!(stats.classes.is_empty());
}

#[test]
fn a_released_block_is_used_again() {
    for len in [0, 1, 64, 65, 5000, FRAME, LARGEST + 1] {
        let pool = pool();
        let lease = pool.acquire(len).unwrap();
        let place = lease.as_ptr();
        assert_eq!((lease.len(), place as usize % ALIGNMENT), (len, 0));
        drop(lease);
        let lease = pool.acquire(len).unwrap();
        assert_eq!(lease.as_ptr(), place);
        let stats = pool.stats();
        assert_eq!((stats.hits, stats.misses), (1, 1));
        assert_eq!(stats.current, lease.capacity());
        assert_eq!(stats.total, 2 * lease.capacity() as u64);
        drop(lease);
        assert_whole(&pool);
    }
}

#[test]
fn a_block_is_never_much_larger_than_what_was_asked_for() {
    let pool = pool();
    drop(pool.acquire(LARGEST * 2).unwrap());
    let lease = pool.acquire(LARGEST + 1).unwrap();
    assert!(lease.capacity() <= LARGEST + (64 << 10));
    drop(lease);
    let near = pool.acquire(LARGEST * 2 - LARGEST / 8).unwrap();
    assert_eq!(near.capacity(), LARGEST * 2);
}

#[test]
fn the_capacity_counts_free_blocks_too_but_they_make_room() {
    let pool = BufferPool::new(Options { capacity: Some(10_000), ..Options::default() });
    let held: Vec<Lease> = (0..5).map(|_| pool.acquire(1024).unwrap()).collect();
    drop(held);
    assert_eq!(pool.stats().held, 5120);
    let large = pool.acquire(7000).unwrap();
    let stats = pool.stats();
    assert!(stats.held <= 10_000 && stats.current == large.capacity());
    assert_eq!(
        pool.acquire(7000).unwrap_err(),
        PoolError::OverCapacity { requested: large.capacity(), in_use: large.capacity(), capacity: 10_000 }
    );
    assert!(pool.acquire(20_000).is_err());
    drop(large);
    assert!(pool.acquire(7000).is_ok());
}

#[test]
fn the_capacity_reaches_into_the_magazines_of_other_threads() {
    let pool = BufferPool::new(Options { capacity: Some(10_000), ..Options::default() });
    let (send, receive) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let other = pool.clone();
        scope.spawn(move || {
            drop(other.acquire(8000).unwrap());
            send.send(()).unwrap();
            ended.recv().unwrap();
        });
        receive.recv().unwrap();
        assert!(pool.acquire(6000).is_ok());
        end.send(()).unwrap();
    });
}

#[test]
fn what_the_system_cannot_give_is_an_error() {
    for len in [usize::MAX / 2, usize::MAX - 4096, usize::MAX] {
        for pool in [pool(), debug_pool()] {
            assert!(matches!(pool.acquire(len), Err(PoolError::OutOfMemory { .. })));
            assert_whole(&pool);
        }
    }
}

#[test]
fn age_decides_what_is_trimmed() {
    let pool = pool();
    let sizes = [100, 4000, FRAME, LARGEST + 1];
    drop(sizes.map(|len| pool.acquire(len).unwrap()));
    assert_eq!(pool.trim(Duration::from_secs(5)), 0);
    std::thread::sleep(Duration::from_millis(60));
    drop(pool.acquire(4000).unwrap());
    let held = pool.stats().held;
    let given = pool.trim(Duration::from_millis(40));
    assert_eq!(held - given, pool.stats().held);
    assert_eq!(pool.stats().classes.iter().map(|class| class.block).collect::<Vec<_>>(), [Some(4096)]);
}

#[test]
fn work_trims_what_it_does_not_use() {
    let pool = BufferPool::new(Options { trim_after: Duration::from_millis(20), ..Options::default() });
    drop(pool.acquire(FRAME).unwrap());
    std::thread::sleep(Duration::from_millis(60));
    for _ in 0..1000 {
        drop(pool.acquire(100).unwrap());
    }
    assert_eq!(pool.stats().held, 128);
}

#[test]
fn blocks_outlive_their_pool() {
    let pool = pool();
    let mut lease = pool.acquire(1000).unwrap();
    drop(pool);
    lease.fill(3);
    std::thread::spawn(move || assert_eq!(*lease, [3; 1000])).join().unwrap();
}

#[test]
fn a_thread_leaves_its_magazine_to_the_others() {
    let pool = pool();
    std::thread::scope(|scope| scope.spawn(|| drop(pool.acquire(1000).unwrap())).join().unwrap());
    drop(pool.acquire(1000).unwrap());
    assert_eq!((pool.stats().hits, pool.stats().misses), (1, 1));
    assert_whole(&pool);
}

#[test]
fn a_lease_may_end_while_its_thread_does() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Lease>> = const { std::cell::RefCell::new(None) };
    }
    let pool = pool();
    std::thread::scope(|scope| {
        // Registered before the magazine, so destroyed after it.
        let keep = || KEPT.with(|kept| *kept.borrow_mut() = Some(pool.acquire(100).unwrap()));
        // A scope alone does not wait for the thread's own variables to be destroyed.
        scope.spawn(keep).join().unwrap();
    });
    assert_whole(&pool);
}

#[test]
fn a_magazine_spills_into_the_shared_lists() {
    let pool = pool();
    let leases: Vec<Lease> = (0..10).map(|_| pool.acquire(1 << 20).unwrap()).collect();
    drop(leases);
    let again: Vec<Lease> = (0..10).map(|_| pool.acquire(1 << 20).unwrap()).collect();
    assert_eq!((pool.stats().hits, pool.stats().misses), (10, 10));
    assert_eq!(pool.stats().peak, 10 << 20);
    drop(again);
    pool.reset_peak();
    assert_eq!(pool.stats().peak, 0);
    assert_whole(&pool);
}

#[test]
fn tracking_lists_who_holds_what() {
    let frame = StackFrame { file: "watch.py".to_owned(), line: 7, function: "look".to_owned() };
    let pool = BufferPool::new(Options { leak_tracking: LeakTracking::Full, ..Options::default() });
    let first = pool.acquire_with(100, || vec![frame.clone()]).unwrap();
    let second = pool.acquire(200).unwrap();
    let found = pool.outstanding(Duration::ZERO);
    assert_eq!(found.iter().map(|block| block.size).collect::<Vec<_>>(), [100, 200]);
    assert!(found[0].id < found[1].id);
    assert_eq!(found[0].stack, [frame]);
    assert!(pool.outstanding(Duration::from_secs(60)).is_empty());
    drop(first);
    assert_eq!(pool.outstanding(Duration::ZERO).len(), 1);
    drop(second);
    assert!(pool.outstanding(Duration::ZERO).is_empty());

    let sampling =
        BufferPool::new(Options { leak_tracking: LeakTracking::Sampled(10), ..Options::default() });
    let leases: Vec<Lease> = (0..100).map(|_| sampling.acquire(10).unwrap()).collect();
    assert_eq!(sampling.outstanding(Duration::ZERO).len(), 10);
    drop(leases);
    let untracked = self::pool();
    let _lease = untracked.acquire_with(1, || unreachable!("nothing is recorded")).unwrap();
}

#[test]
fn debug_mode_finds_writes_past_the_end() {
    let pool = debug_pool();
    let mut lease = pool.acquire(100).unwrap();
    assert_eq!(*lease, [UNWRITTEN; 100]);
    lease.fill(0);
    assert_eq!(lease.release(), None);
    for offset in [100, 127, 150] {
        let lease = pool.acquire(100).unwrap();
        // SAFETY: the debug mode has at least 64 bytes of its own behind the block.
        unsafe { *lease.as_raw().add(offset) = 1 };
        let wanted = Violation { kind: ViolationKind::Overrun, size: 100, offset };
        assert_eq!(lease.release(), Some(wanted.clone()));
        assert_eq!(pool.violations().last(), Some(&wanted));
    }
    assert_whole(&pool);
}

#[test]
fn debug_mode_finds_writes_after_the_release() {
    let pool = debug_pool();
    let lease = pool.acquire(1000).unwrap();
    let stale = lease.as_raw();
    drop(lease);
    // SAFETY: the block is in quarantine, so its memory is still there and nobody else uses it.
    unsafe {
        assert_eq!(*stale, RELEASED);
        *stale.add(9) = 1;
    }
    assert_ne!(pool.acquire(1000).unwrap().as_raw(), stale);
    pool.trim(Duration::ZERO);
    let wanted = Violation { kind: ViolationKind::UseAfterRelease, size: 1000, offset: 9 };
    assert_eq!(pool.violations(), [wanted]);
}

#[test]
fn a_quarantine_is_bounded_and_its_blocks_come_back() {
    let pool = debug_pool();
    for _ in 0..100 {
        drop(pool.acquire(1 << 20).unwrap());
    }
    let stats = pool.stats();
    assert!(stats.hits > 50 && stats.held < 40 << 20, "{stats:?}");
    assert!(pool.violations().is_empty());
    assert_whole(&pool);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order of acquiring and releasing, in any mode: nobody's bytes change, and all come back.
    #[test]
    fn nobody_elses_bytes_change(
        steps in prop::collection::vec((0..3_u8, 0..20_000_usize, any::<prop::sample::Index>()), 1..120),
        debug in any::<bool>(),
        capacity in prop::option::of(30_000..200_000_usize),
    ) {
        let pool = BufferPool::new(Options { debug, capacity, ..Options::default() });
        let mut held: Vec<(u8, Lease)> = Vec::new();
        for (number, (step, len, place)) in steps.into_iter().enumerate() {
            match step {
                0 if !held.is_empty() => drop(held.swap_remove(place.index(held.len()))),
                1 if number % 7 == 0 => drop(pool.trim(Duration::ZERO)),
                _ => match pool.acquire(len) {
                    Ok(mut lease) => {
                        lease.fill(number as u8);
                        held.push((number as u8, lease));
                    }
                    Err(error) => {
                        let over = matches!(error, PoolError::OverCapacity { .. });
                        prop_assert!(over && capacity.is_some(), "{}", error);
                    }
                },
            }
            prop_assert!(pool.stats().held <= capacity.unwrap_or(usize::MAX));
            prop_assert_eq!(
                pool.stats().current,
                held.iter().map(|(_, lease)| lease.capacity()).sum::<usize>()
            );
        }
        for (mark, lease) in &held {
            prop_assert!(lease.iter().all(|byte| byte == mark));
        }
        held.clear();
        prop_assert!(pool.violations().is_empty());
        assert_whole(&pool);
    }
}
