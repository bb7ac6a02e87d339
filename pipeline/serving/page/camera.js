/** The camera: one frame after the other, the next when the last was answered. */

const LONGEST = 1280; // pixels of a frame's longer side
const PATIENCE = 1000; // ms after a failure

export class Camera {
  #stream = null;
  #stopper = null;

  /** @param {HTMLVideoElement} video that shows nothing, and decodes. */
  constructor(video) {
    this.video = video;
  }

  get on() {
    return this.#stream !== null;
  }

  /** The frames' abort signal. */
  get signal() {
    return this.#stopper?.signal;
  }

  /**
   * Begin, and go on until `stop`.
   *
   * @param {function} look called with each frame's JPEG; the next one is taken when its promise is kept.
   * @param {function} failed called with what went wrong with a frame.
   * @throws {Error} in words, if there is no camera or it may not be used.
   */
  async start(look, failed) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("The browser gives its camera only to pages from this machine or over https");
    }
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: { ideal: "user" }, width: { ideal: LONGEST } },
        audio: false,
      });
    } catch (error) {
      throw new Error(error.name === "NotAllowedError" ? "The camera may not be used here" : `No camera: ${error.message}`);
    }
    this.#stopper = new AbortController();
    this.video.hidden = false;
    this.video.srcObject = this.#stream;
    await this.video.play();
    this.#go(look, failed, this.#stopper.signal);
  }

  stop() {
    this.#stopper?.abort();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.video.srcObject = null;
    this.video.hidden = true;
  }

  async #go(look, failed, signal) {
    while (!signal.aborted) {
      try {
        await look(await this.#frame());
      } catch (error) {
        if (signal.aborted) return;
        failed(error);
        await new Promise((done) => setTimeout(done, PATIENCE));
      }
      await new Promise((done) => requestAnimationFrame(done)); // none while the page is hidden
    }
  }

  #frame() {
    const { videoWidth, videoHeight } = this.video;
    const zoom = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(videoWidth * zoom);
    canvas.height = Math.round(videoHeight * zoom);
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
  }
}
