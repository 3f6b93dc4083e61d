"""Read the burnt-in clock out of a <video>; geometry: mingjing/simulators/burnt_clock.py."""

from mingjing.simulators.burnt_clock import CELLS, STRIP_FRACTION

READ_CLOCK = """
(video, near) => {
  if (video.readyState < 2 || !video.videoWidth) return null;
  const cells = CELLS, width = video.videoWidth;
  const strip = Math.max(2, Math.floor(video.videoHeight / STRIP_FRACTION / 2) * 2);
  const canvas = document.createElement('canvas');
  canvas.width = width; canvas.height = strip;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(video, 0, 0, width, strip, 0, 0, width, strip);
  const row = context.getImageData(0, Math.floor(strip / 2), width, 1).data;
  const grey = [];
  for (let cell = 0; cell < cells; cell++) {
    grey.push(row[Math.floor((cell + 0.5) * width / cells) * 4 + 1]);
  }
  const white = (grey[0] + grey[cells - 1]) / 2, black = (grey[1] + grey[cells - 2]) / 2;
  if (white - black < 60) return null;
  const bits = grey.map((value) => (value > (white + black) / 2 ? 1 : 0));
  const number = (from, count) => bits.slice(from, from + count).reduce((n, bit) => n * 2 + bit, 0);
  const time = number(2, 32), check = number(34, 8);
  const octets = [2 ** 24, 2 ** 16, 2 ** 8, 1].map((unit) => Math.floor(time / unit) % 256);
  const expected = [1, 3, 5, 7].reduce((sum, weight, at) => sum + weight * octets[at], 0x5a) % 256;
  if (check !== expected) return null;
  const range = 2 ** 32;
  const ahead = (((time - near + range / 2) % range) + range) % range - range / 2;
  return near + ahead;
}
""".replace("= CELLS,", f"= {CELLS},").replace("/ STRIP_FRACTION /", f"/ {STRIP_FRACTION} /")
