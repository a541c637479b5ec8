internal import Formats
internal import Foundation

/// `config.json` as it is written, before checks. Keys that a released file may lack are optional: transformers leaves
/// out those that equal the defaults of the model type.
struct ConfigFile: Decodable {
    struct Small: Decodable {
        var imageSize: Int
        var patchSize: Int
        var cameras: Int
        var towers: [ModelConfig.Tower]
        var projectorDims: [Int]
        var numQueries: Int
        var actionDim: Int
        var chunk: Int
        var proprioDim: Int
        var policy: ModelConfig.Policy
        var promptTemplate: String?
        var questionTemplate: String?
    }

    struct Text: Decodable {
        /// Rotary positions: `rope_scaling` of older files, `rope_parameters` of newer ones.
        struct Rope: Decodable {
            var type: String?
            var ropeType: String?
            var ropeTheta: Double?
            var factor: Double?
            var lowFreqFactor: Double?
            var highFreqFactor: Double?
            var originalMaxPositionEmbeddings: Double?
            var partialRotaryFactor: Double?

            var kind: String { ropeType ?? type ?? "default" }
        }

        var modelType: String?
        var hiddenSize: Int?
        var numHiddenLayers: Int?
        var numAttentionHeads: Int?
        var numKeyValueHeads: Int?
        var headDim: Int?
        var intermediateSize: Int?
        var vocabSize: Int?
        var hiddenAct: String?
        var rmsNormEps: Double?
        var initializerRange: Double?
        var ropeTheta: Double?
        var ropeScaling: Rope?
        var ropeParameters: Rope?
        var tieWordEmbeddings: Bool?
        var attentionBias: Bool?
        var mlpBias: Bool?
        var slidingWindow: Int?
        var useSlidingWindow: Bool?
        var maxWindowLayers: Int?
        var layerTypes: [String]?
        var maxPositionEmbeddings: Int?
    }

    var craftSmall: Small?
    var craftCausal: Bool?
    /// What a released configuration leaves to the run.
    var craftCameras: Int?
    var craftProPolicy: Bool?
    var craftProprio: Bool?
    /// Sizes of actions and states of a model that has no head yet.
    var craftActionDim: Int?
    var craftProprioDim: Int?
    var timmModelIds: [String]?
    /// By tower; null is timm's default.
    var timmOverrideActLayers: [String?]?
    var imageSizes: Sizes?
    var useFusedVisionBackbone: Bool?
    var textConfig: Text

    /// One size for all towers, or one of each.
    struct Sizes: Decodable {
        let values: [Int]

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let size = try? container.decode(Int.self) {
                values = [size]
            } else {
                values = try container.decode([Int].self)
            }
        }

        /// The tower's.
        subscript(index: Int) -> Int? { index < values.count ? values[index] : values.count == 1 ? values[0] : nil }
    }

    /// Keys of `text_config` that are there, with a value or null: a missing one has transformers' default.
    private(set) var textKeys: Set<String> = []

    private enum CodingKeys: String, CodingKey {
        case craftSmall, craftCausal, craftCameras, craftProPolicy, craftProprio, craftActionDim, craftProprioDim,
            timmModelIds
        case timmOverrideActLayers, imageSizes, useFusedVisionBackbone, textConfig
    }

    init(_ data: Data, path: String) throws(ModelError) {
        let data = PythonJSON.conforming(data)
        guard let object = Self.object(data) else {
            throw ModelError(
                .malformed, "\(path): is not a JSON object: \(PythonJSON.fault(in: data) ?? "expected { at the top")")
        }
        if let name = ConfigKeys.foreignName(object) {
            throw ModelError(
                .unsupported,
                "\(path): is the configuration of \(name), which craft does not read. It trains OpenVLA-type models: a "
                    + "text_config of \(DecoderFamily.names) and timm_model_ids of the vision towers")
        }
        do {
            let decoder = PythonJSON.decoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            self = try decoder.decode(ConfigFile.self, from: data)
        } catch let error as DecodingError {
            throw ModelError(.malformed, "\(path): \(error.sentence)")
        } catch {
            throw ModelError(.malformed, "\(path): not a JSON file: \(error.localizedDescription)")
        }
        try ConfigKeys.check(object, path: path)
        textKeys = Set((object["text_config"] as? [String: Any] ?? [:]).keys)
    }

    private static func object(_ data: Data) -> [String: Any]? {
        (try? JSONSerialization.jsonObject(with: data)) as? [String: Any]
    }
}

extension DecodingError {
    /// The key, as it is in the file, and what is wrong with it.
    var sentence: String {
        func path(_ context: Context, _ key: (any CodingKey)? = nil) -> String {
            (context.codingPath + (key.map { [$0] } ?? [])).map { snakeCase($0.stringValue) }.joined(separator: ".")
        }
        switch self {
        case .keyNotFound(let key, let context): return "\(path(context, key)) is missing"
        case .typeMismatch(let type, let context): return "\(path(context)) is not \(Self.name(of: type))"
        case .valueNotFound(let type, let context): return "\(path(context)) is null; expected \(Self.name(of: type))"
        case .dataCorrupted(let context):
            if !context.codingPath.isEmpty { return "\(path(context)): \(context.debugDescription)" }
            return "not valid JSON, or a number that does not fit: sizes and counts are whole "
                + "(\(context.debugDescription))"
        @unknown default: return "cannot be read: \(self)"
        }
    }

    /// A type in the words of JSON.
    private static func name(of type: Any.Type) -> String {
        switch type {
        case is Int.Type: "a whole number"
        case is Double.Type: "a number"
        case is Bool.Type: "true or false"
        case is String.Type: "a text"
        case is any Collection.Type: String(describing: type).hasPrefix("Dictionary") ? "an object" : "a list"
        default: "an object"
        }
    }

    /// `hiddenSize` back to `hidden_size`.
    private func snakeCase(_ key: String) -> String {
        key.reduce(into: "") { text, character in
            if character.isUppercase, text.last?.isLowercase == true {
                text += "_" + character.lowercased()
            } else {
                text.append(character)
            }
        }
    }
}
