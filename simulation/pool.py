"""Runs jobs in worker processes, each of which may die at any moment.

Every worker has a pipe of its own and holds one job at a time, so a process that is killed loses that job and nothing
else: no queue or lock is shared. Workers end when their pipe closes, also when the main process is killed.
"""
import multiprocessing
import os
import signal
from multiprocessing.connection import wait

ATTEMPTS = 2  # of a job whose worker dies


class WorkersDie(Exception):
    """Workers die one after the other, whatever job they are given."""


class Worker:
    def __init__(self, context, main, arguments):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, main, arguments), daemon=True)
        self.process.start()
        theirs.close()
        self.job = None

    def give(self, job):
        self.job = job
        try:
            self.connection.send(job)
        except OSError:  # it is dead: its end is noticed where results are awaited
            pass

    def result(self):
        """What came through the pipe; raises EOFError or OSError when the process is dead."""
        return self.connection.recv()

    def end(self):
        """How a dead process ended, in words."""
        self.connection.close()
        self.process.join()
        code = self.process.exitcode
        return f"its worker process was ended by signal {-code}" if code < 0 else f"its worker process ended with exit code {code}"


def serve(connection, main, arguments):
    """A worker process. Ctrl-C is the main process's concern."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    perform = main(*arguments)
    try:
        while (job := connection.recv()) is not None:
            connection.send(perform(job))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    # Without the interpreter's clean-up, where EGL's destructors print tracebacks about a display already gone.
    os._exit(0)


def run(jobs, main, arguments=(), processes=1):
    """Yields (job, result, None) as jobs finish, in any order, and (job, None, reason) for one whose worker died twice.

    `main(*arguments)`, called once in each worker, returns the function from a job to its result. A dead worker is
    replaced. Closing the generator ends the workers.
    """
    context = multiprocessing.get_context("spawn")
    waiting, attempts, deaths = list(jobs), {}, 0
    left = len(waiting)
    workers = [Worker(context, main, arguments) for _ in range(min(processes, left))]
    deadly = ATTEMPTS * len(workers) + 1  # so many deaths and nothing done in between: what is wrong is not the jobs
    try:
        for worker in workers:
            worker.give(waiting.pop(0))
        while left:
            for connection in wait([worker.connection for worker in workers if worker.job is not None]):
                worker = next(worker for worker in workers if worker.connection is connection)
                job, reason = worker.job, None
                try:
                    result = worker.result()
                    deaths = 0
                except (EOFError, OSError):
                    reason = worker.end()
                    attempts[job] = attempts.get(job, 0) + 1
                    deaths += 1
                    if deaths == deadly:
                        raise WorkersDie(f"worker processes end one after the other; the last job: {reason}") from None
                    workers[workers.index(worker)] = worker = Worker(context, main, arguments)
                if reason is not None and attempts[job] < ATTEMPTS:
                    worker.give(job)
                    continue
                worker.job = None
                if waiting:
                    worker.give(waiting.pop(0))
                left -= 1
                yield (job, result, None) if reason is None else (job, None, reason)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()
