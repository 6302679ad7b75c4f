import { expect } from 'chai';
import { imageOriginsOf, parseCloudinaryUrl } from '../../../src/storage/cloudinary/account.ts';

describe('the Cloudinary URL', () => {
  it('gives the account, at Cloudinary itself', () => {
    expect(parseCloudinaryUrl('cloudinary://123:abc-_D@My-Cloud')).to.deep.equal({
      cloud_name: 'My-Cloud',
      api_key: '123',
      api_secret: 'abc-_D',
      upload_prefix: 'https://api.cloudinary.com',
      signature_algorithm: 'sha1',
    });
  });

  it('may name another server and another signature', () => {
    const account = parseCloudinaryUrl(
      'cloudinary://1:a@c?upload_prefix=http://127.0.0.1:9/&signature_algorithm=sha256',
    );
    expect(account.upload_prefix).to.equal('http://127.0.0.1:9');
    expect(account.signature_algorithm).to.equal('sha256');
  });

  const wrong: [string, string][] = [
    ['https://1:hush@c', 'cloudinary://KEY:SECRET@CLOUD'],
    ['hush', 'cloudinary://KEY:SECRET@CLOUD'],
    ['cloudinary://hush@c', 'api_secret'],
    ['cloudinary://c?x=hush', 'api_key, api_secret'],
    ['cloudinary://1:hush@', 'cloudinary://KEY:SECRET@CLOUD'],
    ['cloudinary://1:hush@c?upload_prefix=file:///etc', 'upload_prefix'],
    ['cloudinary://1:hush@c?signature_algorithm=md5', 'signature_algorithm'],
  ];
  for (const [url, problem] of wrong) {
    it(`is refused when it is ${url}, without showing it`, () => {
      expect(() => parseCloudinaryUrl(url))
        .to.throw(TypeError, problem)
        .and.satisfies((error: Error) => !`${error.stack}`.replace(/\n.*/s, '').includes('hush'));
    });
  }

  it('knows where a Cloudinary account delivers its images from', () => {
    expect(imageOriginsOf(parseCloudinaryUrl('cloudinary://1:2@demo'))).to.deep.equal([
      'https://res.cloudinary.com',
      'https://demo-res.cloudinary.com',
    ]);
    expect(
      imageOriginsOf(parseCloudinaryUrl('cloudinary://1:2@demo?upload_prefix=https://api-eu.cloudinary.com')),
    ).to.include('https://res.cloudinary.com');
    expect(
      imageOriginsOf(parseCloudinaryUrl('cloudinary://1:2@demo?upload_prefix=http://127.0.0.1:9000/')),
    ).to.deep.equal(['http://127.0.0.1:9000']);
  });
});
