//! The threads of a run and the one that leads them: starts them with a file table each, gives orders, watches the counters.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use sys::{EVENTS_DEFAULT, Kernel, Waker, close_others, unshare_files};

use crate::limits::{GLANCE, WORKER_ANSWER_MAX};
use crate::task::{Gauges, Order, Task};
use crate::worker::{Brief, Left, Worker};

/// Threads at work. Dropping it ends them.
#[derive(Debug)]
pub struct Crew<T> {
    members: Vec<Member<T>>,
    gauges: Arc<Gauges>,
    birth: Instant,
}

#[derive(Debug)]
struct Member<T> {
    orders: Sender<Order>,
    waker: Waker,
    thread: JoinHandle<std::io::Result<Left<T>>>,
}

/// Ends the wait of any thread of the crew, by its number.
#[derive(Debug, Clone)]
pub struct Wakers(Arc<Vec<Waker>>);

impl Wakers {
    /// Ends the wait of thread `index`, or its next one.
    pub fn wake(&self, index: usize) {
        if let Some(waker) = self.0.get(index) {
            waker.wake();
        }
    }
}

impl<T: Task> Crew<T> {
    /// Starts a thread per brief, with the task that `task` makes for it.
    pub fn start(
        briefs: Vec<Brief>,
        gauges: &Arc<Gauges>,
        mut task: impl FnMut(&Brief, &Wakers) -> T,
    ) -> std::io::Result<Self> {
        let birth = now();
        // All of them before the first thread copies the file table: they are woken by number.
        let wakers = briefs.iter().map(|_| Waker::new()).collect::<std::io::Result<Vec<_>>>()?;
        let wakers = Wakers(Arc::new(wakers));
        let mut crew = Self { members: Vec::new(), gauges: Arc::clone(gauges), birth };
        for (mut brief, waker) in briefs.into_iter().zip(wakers.0.iter()) {
            let task = task(&brief, &wakers);
            let (orders, inbox) = channel();
            let (keep, mine, gauges) = (wakers.clone(), waker.clone(), Arc::clone(gauges));
            let body = move || {
                unshare_files()?;
                let keep: Vec<_> = keep.0.iter().map(Waker::handle).collect();
                close_others(&keep)?;
                let sys = Kernel::with_waker(EVENTS_DEFAULT, mine)?;
                brief.birth = birth.elapsed();
                Worker::new(brief, sys, task, inbox, gauges).run()
            };
            let name = format!("load-{}", crew.members.len());
            let thread = Builder::new().name(name).spawn(body)?;
            crew.members.push(Member { orders, waker: waker.clone(), thread });
        }
        Ok(crew)
    }

    /// Gives every thread the order that `order` makes for it.
    pub fn order(&self, mut order: impl FnMut(u32) -> Order) {
        for (index, member) in (0..).zip(&self.members) {
            // A thread that has ended says so when it is joined.
            let _ = member.orders.send(order(index));
            member.waker.wake();
        }
    }

    /// Gives one thread an order.
    pub fn order_one(&self, index: usize, order: Order) {
        if let Some(member) = self.members.get(index) {
            let _ = member.orders.send(order);
            member.waker.wake();
        }
    }

    /// Looks at the counters every now and then until `enough` or `limit` has passed; says whether it was enough.
    pub fn until(&self, limit: Duration, mut enough: impl FnMut(&Gauges) -> bool) -> bool {
        let deadline = now() + limit;
        loop {
            if enough(&self.gauges) {
                return true;
            }
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() || self.members.iter().any(|member| member.thread.is_finished()) {
                return false;
            }
            pause(left.min(GLANCE));
        }
    }

    /// Lets `time` pass.
    pub fn hold(&self, time: Duration, mut glance: impl FnMut(&Gauges)) {
        self.until(time, |gauges| {
            glance(gauges);
            false
        });
    }

    /// Age of the run.
    pub fn age(&self) -> Duration {
        now().saturating_duration_since(self.birth)
    }

    /// Ends every thread and takes what it leaves.
    pub fn finish(self) -> Result<Vec<Left<T>>, String> {
        self.order(|_| Order::Finish);
        let deadline = now() + WORKER_ANSWER_MAX;
        let mut all = Vec::with_capacity(self.members.len());
        for (index, member) in self.members.into_iter().enumerate() {
            while !member.thread.is_finished() {
                if now() > deadline {
                    return Err(format!("load generator thread {index} does not end"));
                }
                pause(Duration::from_millis(1));
            }
            match member.thread.join() {
                Ok(Ok(left)) => all.push(left),
                Ok(Err(error)) => return Err(format!("load generator thread {index}: {error}")),
                Err(_) => return Err(format!("load generator thread {index} panicked")),
            }
        }
        Ok(all)
    }
}

#[allow(clippy::disallowed_methods, reason = "the coordinator has no loop to take the time from")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "the coordinator looks at counters that nothing signals")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
