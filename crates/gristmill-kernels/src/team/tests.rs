use super::wait::DOZE;
use super::*;
use std::sync::atomic::AtomicU32;

#[test]
fn every_task_runs_exactly_once() {
    for n_threads in [0, 1, 2, 3, 8] {
        let team = Team::new(n_threads);
        for n_tasks in [0, 1, 2, 7, 1000] {
            let counts: Vec<AtomicU32> = (0..n_tasks).map(|_| AtomicU32::new(0)).collect();
            team.run(n_tasks, &|i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }
}

#[test]
fn thousands_of_short_jobs_lose_no_task() {
    let team = Team::new(3);
    let sum = AtomicUsize::new(0);
    for _ in 0..20_000 {
        team.run(4, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
    }
    assert_eq!(sum.into_inner(), 20_000 * 6);
}

#[test]
fn workers_that_fell_asleep_are_woken() {
    let team = Team::new(2);
    let met = AtomicUsize::new(0);
    for _ in 0..3 {
        thread::sleep(DOZE * 20);
        met.store(0, Ordering::Relaxed);
        // Both tasks wait for each other, so the job ends only if the worker comes.
        team.run(2, &|_| {
            met.fetch_add(1, Ordering::AcqRel);
            while met.load(Ordering::Acquire) < 2 {
                thread::yield_now();
            }
        });
    }
}

#[test]
fn many_teams_share_a_small_machine() {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let team = Team::new(4);
                let sum = AtomicUsize::new(0);
                for _ in 0..300 {
                    team.run(16, &|i| {
                        sum.fetch_add(i, Ordering::Relaxed);
                    });
                }
                assert_eq!(sum.into_inner(), 300 * 120);
            });
        }
    });
}

#[test]
fn one_team_serves_several_callers() {
    let team = Team::new(3);
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    team.run(8, &|i| {
                        sum.fetch_add(i, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), 4 * 500 * 28);
}

#[test]
fn a_job_inside_a_task_runs_inline() {
    let team = Team::new(2);
    let sum = AtomicUsize::new(0);
    team.run(3, &|_| {
        let thread = thread::current().id();
        team.run(5, &|i| {
            assert_eq!(thread::current().id(), thread);
            sum.fetch_add(i, Ordering::Relaxed);
        });
    });
    assert_eq!(sum.into_inner(), 30);
}

#[test]
fn a_panic_reaches_the_caller_and_the_team_goes_on() {
    let team = Team::new(3);
    for bad in [0, 1, 7] {
        let result = catch_unwind(AssertUnwindSafe(|| {
            team.run(8, &|i| {
                assert!(i != bad, "task {i} fails");
            });
        }));
        let message = result.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(*message, format!("task {bad} fails"));
        let sum = AtomicUsize::new(0);
        team.run(8, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 28);
    }
}

#[test]
fn chunks_cover_a_slice_once() {
    let team = Team::new(2);
    let mut values = vec![0usize; 103];
    team.for_each_chunk_mut(&mut values, 10, &|number, chunk| {
        assert_eq!(chunk.len(), if number == 10 { 3 } else { 10 });
        chunk.iter_mut().enumerate().for_each(|(i, value)| *value += number * 10 + i);
    });
    assert!(values.iter().enumerate().all(|(i, &value)| i == value));
    team.for_each_chunk_mut(&mut [] as &mut [u8], 10, &|_, _| unreachable!("no chunk of nothing"));
}

#[test]
fn tiles_of_several_grids_cover_them_once() {
    let team = Team::new(2);
    let mut a = vec![0u32; 7 * 50];
    let mut b = vec![0u32; 3 * 8];
    let mut grids = [
        Grid { values: &mut a, row_len: 50, tile_rows: 2, tile_columns: 16 },
        Grid { values: &mut b, row_len: 8, tile_rows: 3, tile_columns: 3 },
    ];
    team.for_each_tile_mut(&mut grids, &|number, mut tile| {
        for row in tile.rows() {
            let first = tile.columns().start;
            for (i, value) in tile.row_mut(row).iter_mut().enumerate() {
                *value += (number * 1000 + row * 100 + first + i) as u32;
            }
        }
    });
    assert!((0..350).all(|i| a[i] as usize == i / 50 * 100 + i % 50));
    assert!((0..24).all(|i| b[i] as usize == 1000 + i / 8 * 100 + i % 8));
}
