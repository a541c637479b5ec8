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
        /// A rescaling of rotary positions; only its absence is supported.
        struct RopeScaling: Decodable {
            var type: String?
            var ropeType: String?
            var ropeTheta: Double?
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
        var ropeScaling: RopeScaling?
        var ropeParameters: RopeScaling?
        var tieWordEmbeddings: Bool?
        var attentionBias: Bool?
        var mlpBias: Bool?
        var slidingWindow: Int?
        var useSlidingWindow: Bool?
        var maxPositionEmbeddings: Int?
    }

    var craftSmall: Small?
    var craftCausal: Bool?
    /// What a released configuration leaves to the run.
    var craftCameras: Int?
    var craftProPolicy: Bool?
    var craftProprio: Bool?
    var timmModelIds: [String]?
    var imageSizes: [Int]?
    var useFusedVisionBackbone: Bool?
    var textConfig: Text

    init(_ data: Data, path: String) throws(ModelError) {
        do {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            self = try decoder.decode(ConfigFile.self, from: data)
        } catch let error as DecodingError {
            throw ModelError("\(path): \(error.sentence)")
        } catch {
            throw ModelError("\(path): not a JSON file: \(error.localizedDescription)")
        }
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
