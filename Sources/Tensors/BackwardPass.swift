internal import Kernels

/// One cotangent for all rows of each of several ranges, as the mean over them sends back (docs/ENGINE.md, "Shared cotangents").
struct SharedCotangent {
    /// Ranges of rows, which may overlap: a row's cotangent is the sum.
    let spans: ArenaList<RowRange>
    let columns: Int
    /// [spans, columns], from the tape's pool.
    let values: UnsafeMutablePointer<Float>
    /// The rows in the spans, or more; nil: any.
    let rows: RowSpan?

    func release(to pool: BufferPool) { pool.give(values, count: spans.count * columns) }
}

/// A backward pass: cotangents by tensor, gradients by parameter. A tape keeps one, whose arrays serve every pass.
final class BackwardPass {
    unowned let tape: Tape
    private var gradients: GradientAccumulator?
    private var route = GradientRoute.everywhere
    private var cotangents: [UnsafeMutablePointer<Float>?] = []
    private var counts: [Int] = []
    /// Where a cotangent may differ from zero, by tensor; nil: anywhere. Rows outside hold zeros all the same.
    private var spans: [RowSpan?] = []
    /// Cotangents that stand for rows of equal ones, by tensor, as long as nothing else is added.
    private var shared: [SharedCotangent?] = []
    var parallel: Parallel { tape.parallel }

    init(of tape: Tape) { self.tape = tape }

    func begin(into gradients: GradientAccumulator, _ route: GradientRoute) {
        self.gradients = gradients
        self.route = route
        makeRoom()
    }

    /// The rows in which the cotangent of `tensor` may differ from zero.
    func activeRows(of tensor: Tensor) -> ActiveRows { ActiveRows(spans[tensor.id], of: tensor.rows) }

    /// Runs operations backwards.
    func run(_ operations: Recording) {
        operations.forEachReversed(from: route.firstStage) { operation in
            let output = operation.output
            if cotangents[output.id] == nil && shared[output.id] == nil { return }
            let start = tape.profile?.now
            if let rows = shared[output.id], operation.backward(shared: rows, self) {
                release(output)
            } else {
                spread(output)
                if let dy = cotangents[output.id] { operation.backward(dy, self) }
                if operation.ownsOutput { release(output) }
            }
            if let start { tape.profile?.end(operation.name.description, .backward, from: start) }
        }
    }

    /// Makes room for tensors that have come into being since the pass began.
    func makeRoom() {
        let missing = tape.tensorCount - cotangents.count
        if missing > 0 {
            cotangents.append(contentsOf: repeatElement(nil, count: missing))
            counts.append(contentsOf: repeatElement(0, count: missing))
            spans.append(contentsOf: repeatElement(nil, count: missing))
            shared.append(contentsOf: repeatElement(nil, count: missing))
        }
    }

    /// Hands the cotangent of `tensor` over to `other`, which has none.
    func move(_ tensor: Tensor, to other: Tensor) {
        (cotangents[other.id], counts[other.id]) = (cotangents[tensor.id], counts[tensor.id])
        (spans[other.id], shared[other.id]) = (spans[tensor.id], shared[tensor.id])
        cotangents[tensor.id] = nil
        (spans[tensor.id], shared[tensor.id]) = (nil, nil)
    }

    /// The cotangent buffer of `tensor`, and whether it holds something to be added to (else: overwrite all of it).
    ///
    /// - `span`: the caller writes or changes these rows alone; nil: any.
    func gradient(
        of tensor: Tensor, within span: RowSpan? = nil
    ) -> (buffer: UnsafeMutablePointer<Float>, accumulate: Bool) {
        spread(tensor)
        let span = tape.shortcuts.contains(.activeRows) ? span : nil
        if let buffer = cotangents[tensor.id] {
            spans[tensor.id] = span.flatMap { spans[tensor.id]?.union($0) }
            return (buffer, true)
        }
        let buffer = tape.pool.take(tensor.count)
        cotangents[tensor.id] = buffer
        counts[tensor.id] = tensor.count
        spans[tensor.id] = span
        if let span {
            let n = tensor.columns
            parallel.ranges(tensor.rows / span.period, grain: max(1, 65_536 / max(1, span.period * n))) { sequences in
                for sequence in sequences {
                    let start = buffer + sequence * span.period * n
                    ck_fill(0, span.range.lowerBound * n, start)
                    ck_fill(0, (span.period - span.range.upperBound) * n, start + span.range.upperBound * n)
                }
            }
        }
        return (buffer, false)
    }

    /// The cotangent buffer of `tensor`, cleared when new, for operations that reach only some of its rows.
    func clearedGradient(of tensor: Tensor, within span: RowSpan? = nil) -> UnsafeMutablePointer<Float> {
        let (buffer, accumulate) = gradient(of: tensor, within: span)
        if !accumulate {
            parallel.ranges(tensor.count, grain: 65_536) { ck_fill(0, $0.count, buffer + $0.lowerBound) }
        }
        return buffer
    }

    /// Adds the cotangent of `output` to `tensor`; when `tensor` has none yet it takes the buffer over without a copy.
    func pass(_ output: Tensor, to tensor: Tensor) {
        spread(output)
        spread(tensor)
        guard let dy = cotangents[output.id], tensor.needsGradient else { return }
        if cotangents[tensor.id] != nil {
            let active = activeRows(of: output)
            let (buffer, _) = gradient(of: tensor, within: active.span)
            let n = tensor.columns
            tape.parallel.ranges(active.count, grain: max(1, 65_536 / max(1, n))) { range in
                active.forEach(in: range) { rows, _ in
                    let start = rows.lowerBound * n
                    ck_add(buffer + start, dy + start, rows.count * n, buffer + start)
                }
            }
        } else {
            cotangents[tensor.id] = dy
            counts[tensor.id] = tensor.count
            spans[tensor.id] = spans[output.id]
            cotangents[output.id] = nil
        }
    }

    /// Adds a cotangent that ranges of rows share to `tensor`, which keeps it so while nothing else is added.
    ///
    /// - `cotangent`: its values are taken over.
    func share(_ cotangent: SharedCotangent, with tensor: Tensor) {
        if tensor.needsGradient, tape.shortcuts.contains(.sharedCotangents), cotangents[tensor.id] == nil,
            shared[tensor.id] == nil
        {
            shared[tensor.id] = cotangent
            return
        }
        if tensor.needsGradient { add(cotangent, to: tensor) }
        cotangent.release(to: tape.pool)
    }

    /// Gives each row of `tensor` its own cotangent, if they share.
    private func spread(_ tensor: Tensor) {
        guard let cotangent = shared[tensor.id] else { return }
        shared[tensor.id] = nil
        add(cotangent, to: tensor)
        cotangent.release(to: tape.pool)
    }

    private func add(_ cotangent: SharedCotangent, to tensor: Tensor) {
        let n = tensor.columns
        let dx = clearedGradient(of: tensor, within: cotangent.rows)
        // Spans may overlap.
        parallel.columnRanges(n, count: tensor.count) { columns in
            for (index, span) in cotangent.spans.enumerated() {
                let values = cotangent.values + index * n + columns.lowerBound
                for row in span.range {
                    let target = dx + row * n + columns.lowerBound
                    ck_add(target, values, columns.count, target)
                }
            }
        }
    }

    /// Where the gradient of a parameter is added; nil when it is frozen or off the route.
    func parameterGradient(_ id: Int?) -> UnsafeMutablePointer<Float>? {
        guard let id, let gradients else { return nil }
        let parameter = tape.parameters[id]
        guard parameter.isTrainable, !route.leavesOut(id) else { return nil }
        gradients.isReached[id] = true
        return gradients.values.base + parameter.offset
    }

    func release(_ tensor: Tensor) {
        if let cotangent = shared[tensor.id] {
            cotangent.release(to: tape.pool)
            shared[tensor.id] = nil
        }
        guard let buffer = cotangents[tensor.id] else { return }
        tape.pool.give(buffer, count: counts[tensor.id])
        cotangents[tensor.id] = nil
        spans[tensor.id] = nil
    }

    /// Gives all buffers back.
    func end() {
        for id in cotangents.indices {
            if let buffer = cotangents[id] { tape.pool.give(buffer, count: counts[id]) }
            shared[id]?.release(to: tape.pool)
        }
        cotangents.removeAll(keepingCapacity: true)
        counts.removeAll(keepingCapacity: true)
        spans.removeAll(keepingCapacity: true)
        shared.removeAll(keepingCapacity: true)
        gradients = nil
    }
}
