import Dispatch
import Glibc
import Synchronization
import Tensors
import Testing

/// Every chunk of a loop runs exactly once, whatever else runs.
@Suite struct ParallelLoopTests {
    /// How often each of `chunks` chunks ran in `loops` loops.
    private func counts(_ parallel: Parallel, chunks: Int, loops: Int = 1) -> [Int] {
        let counts = UnsafeMutableBufferPointer<Int>.allocate(capacity: chunks)
        defer { counts.deallocate() }
        counts.initialize(repeating: 0)
        for _ in 0..<loops { parallel.run(chunks: chunks) { counts[$0] += 1 } }
        return Array(counts)
    }

    @Test(arguments: [1, 2, 3, 16], [0, 1, 2, 7, 100]) func everyChunkOnce(threads: Int, chunks: Int) {
        #expect(counts(Parallel(threads: threads), chunks: chunks) == Array(repeating: 1, count: chunks))
    }

    /// Short loops in a row, in which a thread may come too late for one and in time for the next; pauses let them sleep.
    @Test func manyLoopsInARow() {
        for threads in [2, 5] {
            for _ in 0..<20 {
                #expect(counts(Parallel(threads: threads), chunks: 6, loops: 2000) == Array(repeating: 2000, count: 6))
                var pause = timespec(tv_sec: 0, tv_nsec: 200_000)
                nanosleep(&pause, nil)
            }
        }
    }

    @Test func loopsWithinLoops() {
        let parallel = Parallel(threads: 4)
        let total = Atomic<Int>(0)
        parallel.run(chunks: 8) { _ in
            parallel.run(chunks: 5) { _ in total.wrappingAdd(1, ordering: .relaxed) }
        }
        #expect(total.load(ordering: .relaxed) == 40)
    }

    /// Of several callers at once one has the threads, the others do without.
    @Test func callersAtTheSameTime() {
        let total = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 6) { _ in
            for _ in 0..<500 {
                Parallel(threads: 3).run(chunks: 4) { _ in total.wrappingAdd(1, ordering: .relaxed) }
            }
        }
        #expect(total.load(ordering: .relaxed) == 6 * 500 * 4)
    }

    /// A caller that finds no chunk left sleeps until the others are done with theirs.
    @Test func aSlowChunkIsWaitedFor() {
        let done = Atomic<Int>(0)
        Parallel(threads: 2).run(chunks: 2) { _ in
            var pause = timespec(tv_sec: 0, tv_nsec: 20_000_000)
            nanosleep(&pause, nil)
            done.wrappingAdd(1, ordering: .relaxed)
        }
        #expect(done.load(ordering: .relaxed) == 2)
    }
}
