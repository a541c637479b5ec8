/// The merge rules of a byte-level BPE and the loop that applies them.
struct BytePairMerges: Sendable {
    struct Merge: Sendable {
        var rank: Int32
        var result: Int32
    }

    /// The token of each single byte.
    let byteTokens: [Int32]
    /// Keyed by both tokens of a pair.
    private let merges: [UInt64: Merge]

    init(byteTokens: [Int32], merges: [(left: Int32, right: Int32, result: Int32)]) {
        self.byteTokens = byteTokens
        var table: [UInt64: Merge] = Dictionary(minimumCapacity: merges.count)
        for (rank, merge) in merges.enumerated() {
            // A pair listed twice keeps its first, stronger rank's result only if unseen: later entries overwrite, as in
            // the reference implementation's map.
            table[Self.key(merge.left, merge.right)] = Merge(rank: Int32(rank), result: merge.result)
        }
        self.merges = table
    }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// The tokens of one piece: merges the pair of lowest rank, leftmost first, until no rule applies.
    ///
    /// Pairs wait in a heap, so that a piece of n bytes takes O(n log n) even when it is one very long word.
    func tokens(of piece: some Collection<UInt8>) -> [Int32] {
        var symbols = piece.map { byteTokens[Int($0)] }
        let count = symbols.count
        guard count > 1 else { return symbols }
        // A doubly linked list of live symbols; -1 ends it, and a merged-away symbol holds -1.
        var previous = (0..<count).map { $0 - 1 }
        var next = (0..<count).map { $0 + 1 < count ? $0 + 1 : -1 }
        var heap = CandidateHeap()
        func consider(_ left: Int, _ heap: inout CandidateHeap) {
            guard left >= 0, next[left] >= 0 else { return }
            if let merge = merges[Self.key(symbols[left], symbols[next[left]])] {
                heap.push(
                    Candidate(
                        rank: merge.rank, position: left, result: merge.result,
                        left: symbols[left], right: symbols[next[left]]))
            }
        }
        for position in 0..<(count - 1) { consider(position, &heap) }
        while let candidate = heap.pop() {
            let left = candidate.position
            let right = next[left]
            // Stale when one of its symbols has changed since.
            guard symbols[left] == candidate.left, right >= 0, symbols[right] == candidate.right else { continue }
            symbols[left] = candidate.result
            symbols[right] = -1
            next[left] = next[right]
            if next[left] >= 0 { previous[next[left]] = left }
            consider(previous[left], &heap)
            consider(left, &heap)
        }
        return symbols.filter { $0 >= 0 }
    }
}

private struct Candidate {
    var rank: Int32
    var position: Int
    var result: Int32
    var left: Int32
    var right: Int32

    func precedes(_ other: Candidate) -> Bool {
        rank != other.rank ? rank < other.rank : position < other.position
    }
}

/// A binary min-heap.
private struct CandidateHeap {
    private var items: [Candidate] = []

    mutating func push(_ item: Candidate) {
        items.append(item)
        var child = items.count - 1
        while child > 0, items[child].precedes(items[(child - 1) / 2]) {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func pop() -> Candidate? {
        guard let first = items.first else { return nil }
        let last = items.removeLast()
        if items.isEmpty { return first }
        items[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < items.count && items[child].precedes(items[least]) {
                least = child
            }
            if least == parent { return first }
            items.swapAt(parent, least)
            parent = least
        }
    }
}
