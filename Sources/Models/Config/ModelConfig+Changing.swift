internal import Formats
internal import Foundation

extension ModelConfig {
    /// The same model for images of another size, with another action head, with or without proprioception, for actions and states
    /// of other widths; nil leaves a choice as it is. Its ``source`` says so too.
    ///
    /// - `path`: of the configuration, for errors.
    func changed(
        imageSize: Int?, proPolicy: Bool?, usesProprio: Bool?, actionDim: Int? = nil, proprioDim: Int? = nil,
        path: String
    ) throws(ModelError) -> ModelConfig {
        guard imageSize != nil || proPolicy != nil || usesProprio != nil || actionDim != nil || proprioDim != nil else {
            return self
        }
        guard var object = (try? JSONSerialization.jsonObject(with: PythonJSON.conforming(source))) as? [String: Any]
        else {
            throw ModelError(.malformed, "\(path): is not a JSON object")
        }
        var small = object["craft_small"] as? [String: Any]
        if let imageSize {
            guard imageSize > 0, imageSize % patchSize == 0 else {
                throw ModelError(
                    .unsuitable,
                    "an image size of \(imageSize) pixels does not suit \(path): its patches are \(patchSize) pixels wide; "
                        + "expected a multiple of that")
            }
            object["image_sizes"] = towers.map { _ in imageSize }
            small?["image_size"] = imageSize
        }
        if let proPolicy {
            if var policy = small?["policy"] as? [String: Any] {
                policy["pro"] = proPolicy
                small?["policy"] = policy
            } else {
                object["craft_pro_policy"] = proPolicy
            }
        }
        if let usesProprio { object["craft_proprio"] = usesProprio }
        for (key, width) in [("action_dim", actionDim), ("proprio_dim", proprioDim)] {
            guard let width else { continue }
            if small == nil { object["craft_" + key] = width } else { small?[key] = width }
        }
        if let small { object["craft_small"] = small }
        let options: JSONSerialization.WritingOptions = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? JSONSerialization.data(withJSONObject: object, options: options) else {
            throw ModelError(.malformed, "\(path): cannot be written anew as JSON")
        }
        return try ModelConfig(data + [10], path: path)
    }
}
