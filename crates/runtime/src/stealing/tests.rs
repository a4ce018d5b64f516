use super::*;
use std::sync::atomic::AtomicBool;
use std::sync::{Barrier, mpsc};

const SOON: Duration = Duration::from_secs(60);

fn settings(threads: usize) -> Settings {
    Settings { name: "test".to_owned(), threads, affinity: None, priority: Priority::Normal }
}

#[test]
fn every_task_runs_once_from_wherever_it_comes() {
    let pool = Arc::new(StealingPool::new(settings(3)).unwrap());
    let ran: Arc<Vec<AtomicUsize>> = Arc::new((0..6000).map(|_| AtomicUsize::new(0)).collect());
    std::thread::scope(|scope| {
        for part in 0..3 {
            let (pool, ran) = (&pool, &ran);
            scope.spawn(move || {
                for index in 0..1000 {
                    let (inner, ran) = (Arc::downgrade(pool), Arc::clone(ran));
                    let number = part * 2000 + index;
                    assert!(pool.submit(Box::new(move || {
                        ran[number].fetch_add(1, Ordering::Relaxed);
                        let ran = Arc::clone(&ran);
                        let pool = inner.upgrade().expect("the pool outlives its tasks");
                        pool.submit(Box::new(move || {
                            ran[number + 1000].fetch_add(1, Ordering::Relaxed);
                        }));
                    })));
                }
            });
        }
    });
    let end = Instant::now() + SOON;
    while pool.stats().workers.iter().map(|worker| worker.tasks).sum::<u64>() < 6000 {
        assert!(Instant::now() < end, "{:?}", pool.stats());
        std::thread::yield_now();
    }
    pool.close();
    assert!(pool.join(SOON));
    assert!(ran.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    assert!(!pool.submit(Box::new(|| ())));
}

#[test]
fn a_closed_pool_runs_what_is_queued() {
    let pool = StealingPool::new(settings(2)).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..500 {
        let done = Arc::clone(&done);
        pool.submit(Box::new(move || {
            done.fetch_add(1, Ordering::Relaxed);
        }));
    }
    pool.close();
    assert!(pool.join(SOON));
    assert_eq!(done.load(Ordering::Relaxed), 500);
    assert_eq!(pool.stats().queued, 0);
}

#[test]
fn tasks_are_stolen_from_a_worker_that_is_held() {
    let pool = Arc::new(StealingPool::new(settings(2)).unwrap());
    let (tell, hear) = mpsc::channel();
    let inner = Arc::downgrade(&pool);
    // The task waits for its own children, which only the other worker can run.
    pool.submit(Box::new(move || {
        let pool = inner.upgrade().unwrap();
        let (done, wait) = mpsc::channel();
        for _ in 0..10 {
            let done = done.clone();
            pool.submit(Box::new(move || done.send(()).unwrap()));
        }
        let children = wait.iter().take(10).count();
        tell.send(children).unwrap();
    }));
    assert_eq!(hear.recv_timeout(SOON), Ok(10));
    assert!(pool.stats().workers.iter().map(|worker| worker.steals).sum::<u64>() > 0);
}

#[test]
fn workers_start_with_work_and_run_side_by_side() {
    let pool = StealingPool::new(settings(4)).unwrap();
    assert!(pool.stats().workers.is_empty());
    let meeting = Arc::new(Barrier::new(5));
    for _ in 0..4 {
        let meeting = Arc::clone(&meeting);
        pool.submit(Box::new(move || {
            meeting.wait();
        }));
    }
    meeting.wait();
    assert_eq!(pool.stats().workers.len(), 4);
}

#[test]
fn a_panic_ends_its_task_only() {
    let pool = StealingPool::new(settings(1)).unwrap();
    let reached = Arc::new(AtomicBool::new(false));
    pool.submit(Box::new(|| std::panic::resume_unwind(Box::new("quiet"))));
    let flag = Arc::clone(&reached);
    pool.submit(Box::new(move || flag.store(true, Ordering::Relaxed)));
    pool.close();
    assert!(pool.join(SOON));
    assert!(reached.load(Ordering::Relaxed));
    assert_eq!(pool.stats().workers[0].tasks, 2);
}

#[cfg(target_os = "linux")]
#[test]
fn settings_reach_the_threads_or_are_refused() {
    let cores = affinity_of_thread();
    let pinned =
        Settings { affinity: Some(vec![vec![cores[0]]; 2]), priority: Priority::Nice(7), ..settings(2) };
    let pool = StealingPool::new(pinned).unwrap();
    let (tell, hear) = mpsc::channel();
    pool.submit(Box::new(move || {
        // SAFETY: the call takes numbers only; 0 is the calling thread.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        tell.send((affinity_of_thread(), nice)).unwrap();
    }));
    assert_eq!(hear.recv_timeout(SOON), Ok((vec![cores[0]], 7)));
    assert_eq!(pool.stats().workers[0].cores, [cores[0]]);

    let absent = Settings { affinity: Some(vec![vec![1000]]), ..settings(1) };
    assert!(StealingPool::new(absent).is_err());
    let beyond = Settings { affinity: Some(vec![vec![1 << 20]]), ..settings(1) };
    assert_eq!(StealingPool::new(beyond).err().unwrap().kind(), io::ErrorKind::InvalidInput);

    let idle = StealingPool::new(Settings { priority: Priority::Idle, ..settings(1) }).unwrap();
    let (tell, hear) = mpsc::channel();
    // SAFETY: the call takes a number only; 0 is the calling thread.
    idle.submit(Box::new(move || tell.send(unsafe { libc::sched_getscheduler(0) }).unwrap()));
    assert_eq!(hear.recv_timeout(SOON), Ok(libc::SCHED_IDLE));
}

#[cfg(target_os = "linux")]
#[test]
fn idle_workers_do_not_wake_up() {
    let pool = StealingPool::new(settings(2)).unwrap();
    let (tell, hear) = mpsc::channel();
    pool.submit(Box::new(move || {
        // SAFETY: the call takes nothing.
        tell.send(unsafe { libc::gettid() }).unwrap();
    }));
    let thread = hear.recv_timeout(SOON).unwrap();
    let switches = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    };
    while pool.stats().running > 0 || pool.stats().workers[0].tasks == 0 {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(20));
    let before = switches();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(switches(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_leaves_its_parents_pool_alone() {
    let pool = StealingPool::new(settings(1)).unwrap();
    pool.submit(Box::new(|| ()));
    // SAFETY: the child touches the pool only where it does not wait for locks, and leaves by _exit.
    let status = unsafe {
        let child = libc::fork();
        if child == 0 {
            let alone = !pool.is_of_this_process() && pool.join(SOON) && pool.stats().workers.is_empty();
            pool.close();
            libc::_exit(i32::from(!alone));
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        status
    };
    assert_eq!(status, 0);
}
