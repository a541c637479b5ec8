internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

/// What a run needs from its start, and what becomes of its plan.
extension RunDirectory {
    /// Tensors drawn at the start of the run that its anchors need.
    var initialPath: String { path + "/initial.safetensors" }

    /// Writes the plan, the statistics of the data, and the tensors that were drawn for the run.
    func writeStart(of parts: RunParts) throws {
        try writePlan(parts.composition)
        let parameters = parts.model.parameters
        let tensors = parts.drawn.compactMap { name in
            parameters.id(of: name).map {
                SafetensorsWriter.Tensor(name, shape: parameters[$0].shape, pointer: parameters.values($0))
            }
        }
        if !tensors.isEmpty { try SafetensorsWriter.write(tensors, to: initialPath) }
        if !parts.statistics.isEmpty {
            try DatasetStatistics.save(parts.statistics, to: path + "/dataset_statistics.json")
        }
    }

    /// Records the plan of a run that goes on from `step` with other plugins; the one until then is kept beside it.
    func replacePlan(by composition: Composition, from step: Int) throws {
        for kind in ["json", "txt"] {
            guard let old = FileManager.default.contents(atPath: "\(path)/plan.\(kind)") else { continue }
            try AtomicFile.write([UInt8](old), to: "\(path)/plan-until-step-\(step).\(kind)")
        }
        try writePlan(composition)
    }

    private func writePlan(_ composition: Composition) throws {
        try AtomicFile.write(json: composition.planJSON, to: planPath)
        try AtomicFile.write(composition.planText + "\n", to: path + "/plan.txt")
    }
}
