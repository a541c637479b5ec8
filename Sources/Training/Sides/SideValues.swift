internal import Data
internal import Formats
internal import PluginRuntime

/// Values by sample from a safetensors file: `ids` i64 [N] and `values` [N, ...], a row for each sample.
struct SideValues {
    let name: String
    let path: String
    /// Numbers of a sample.
    let width: Int
    private let values: [Float]
    /// By sample.
    private let rows: [Int64: Int]

    /// Throws ``FileError`` or ``TrainingError`` naming the file, the tensor and what was expected.
    init(_ setting: SideSetting) throws {
        (name, path) = (setting.name, setting.path)
        let file = try SafetensorsFile(path: path)
        let ids = try file.integers("ids")
        let entry = try file.requiredEntry("values")
        guard try file.requiredEntry("ids").shape.count == 1, let count = entry.shape.first, count == ids.count else {
            throw TrainingError(
                .malformed,
                "\(path): 'values' has the shape \(entry.shape), 'ids' has \(try file.requiredEntry("ids").shape); expected "
                    + "ids [samples] and values [samples, ...]")
        }
        values = try file.floats("values")
        guard file.isFinite(entry) else {
            throw TrainingError(.malformed, "\(path): 'values' holds numbers that are not finite")
        }
        width = count == 0 ? 0 : values.count / count
        guard width > 0 else {
            throw TrainingError(.malformed, "\(path): 'values' is empty; expected a row for each sample")
        }
        var rows: [Int64: Int] = [:]
        for (row, id) in ids.enumerated() {
            guard rows.updateValue(row, forKey: id) == nil else {
                throw TrainingError(.malformed, "\(path): 'ids' has the sample \(id) twice")
            }
        }
        self.rows = rows
    }

    /// Rows of these samples, one after the other. Throws ``TrainingError`` naming the first sample that has none.
    func rows(of samples: [Int64]) throws -> [Float] {
        var found: [Float] = []
        found.reserveCapacity(samples.count * width)
        for sample in samples {
            guard let row = rows[sample] else {
                throw TrainingError(
                    .missing,
                    "\(path): has no values for the sample \(sample) (sample_id), which is trained on; `sides` \(name) needs a row "
                        + "for every sample")
            }
            found += values[row * width..<(row + 1) * width]
        }
        return found
    }
}

/// Micro-batches with what the user gave for their samples.
final class SideSource: BatchSource {
    private let source: any BatchSource
    private let sides: [SideValues]

    init(_ source: any BatchSource, _ sides: [SideValues]) { (self.source, self.sides) = (source, sides) }

    func next() throws -> TrainingBatch {
        var batch = try source.next()
        for side in sides { batch.sides[side.name] = (try side.rows(of: batch.samples), side.width) }
        return batch
    }

    var cursor: DataCursor { source.cursor }

    func restore(cursor: DataCursor) throws { try source.restore(cursor: cursor) }

    func pass(_ batches: Int) throws { try source.pass(batches) }
}

extension RunSettings {
    /// The values by sample that some hook reads.
    func sideValues(_ composition: Composition) throws -> [SideValues] {
        let read = BatchNames.sides(composition)
        return try (sides ?? []).filter { read.contains($0.name) }.map(SideValues.init)
    }
}
