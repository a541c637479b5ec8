/// The merge rules of a BPE and the loop that applies them.
struct BytePairMerges: Sendable {
    struct Merge: Sendable {
        var rank: Int32
        var result: Int32
    }

    /// Keyed by both tokens of a pair.
    private let merges: [UInt64: Merge]

    /// - Parameter rules: strongest first. Of a pair listed twice the later entry counts, as in the reference
    ///   implementation's map.
    init(_ rules: [(left: Int32, right: Int32, result: Int32)]) {
        var table: [UInt64: Merge] = Dictionary(minimumCapacity: rules.count)
        for (rank, rule) in rules.enumerated() {
            table[Self.key(rule.left, rule.right)] = Merge(rank: Int32(rank), result: rule.result)
        }
        merges = table
    }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// Merges the pair of lowest rank, leftmost first, until no rule applies.
    ///
    /// Pairs wait in a heap, so that a piece of n symbols takes O(n log n) even when it is one very long word.
    func apply(to piece: [Int32], appendingTo ids: inout [Int32]) {
        var symbols = piece
        let count = symbols.count
        guard count > 1 else {
            ids += symbols
            return
        }
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
        for symbol in symbols where symbol >= 0 { ids.append(symbol) }
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
