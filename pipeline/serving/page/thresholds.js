/**
 * What thresholds leave of a result, and whether an answer that was given for a lower confidence can tell it.
 *
 * Boxes can be dropped here: suppression goes from the strongest box down, so a weak box never changes what becomes of
 * a stronger one, and `heads` has the most confident first, so indices into it stay. What can change is which head a
 * face belongs to, and with it what is read of the torso: a weak face may hold a head that another would get without
 * it, and the other way round. So an answer tells the result of a higher confidence if no face that stays belongs to a
 * head that goes, and no face that goes to a head that stays; else the server is asked again.
 */

/** The server compares 32-bit floats and takes what is above the threshold. */
const above = (found, conf) => Math.fround(found.confidence) > Math.fround(conf);

/** Whether dropping what is not above `conf` gives just what the server would say if asked for `conf`. */
export function suffices(result, conf) {
  return result.faces.every((face) => face.head === null || above(face, conf) === above(result.heads[face.head], conf));
}

/** The result without what is not above `conf`, as one that `conf` was asked for. */
export function aboveOnly(result, conf) {
  const heads = result.heads.filter((head) => above(head, conf));
  const faces = result.faces
    .filter((face) => above(face, conf))
    .map((face) => (face.head !== null && face.head >= heads.length ? { ...face, head: null } : face));
  const models = { ...result.models, detector: { ...result.models.detector, confidence: conf } };
  return { ...result, faces, heads, models };
}

/** The result with `value` null in each attribute of classes whose likeliest class is less probable than `least`. */
export function namedOnly(result, least) {
  const unsure = (value) => (value.probability < least ? { ...value, value: null } : value);
  const faces = result.faces.map((face) => {
    if (!face.attributes) return face;
    const read = Object.entries(face.attributes).map(([name, value]) => [name, unsure(value)]);
    return { ...face, attributes: Object.fromEntries(read) };
  });
  return { ...result, faces };
}
